"""The descriptions for people and for editors."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.config.export import json_schema, list_components
from nmt.config.schema import Experiment
from nmt.errors import UserError
from nmt.registry import FAMILIES
from tests.config.conftest import NEEDED

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
PARTS = """
include: [a.yaml, b.yaml]
model:
  encoder: {type: bilstm, hidden_size: 3, merge: sum}
  decoder: luong
  score: {type: cosine, sharpness: 2.0}
training: {schedule: {type: cosine}}
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_list_mentions_every_part_and_option(family: str) -> None:
    text, all_text = list_components(family), list_components()
    assert text in all_text
    blocks = dict(zip(FAMILIES[family], re.split(r"\n {2}(?=\S)", text)[1:], strict=True))
    for part in FAMILIES[family].specs().values():
        first, *lines = blocks[part.name].split("\n      ")
        assert first == f"{part.name}: {part.summary}"
        assert len(lines) == len(part.options)
        for line, (name, option) in zip(lines, part.options.items(), strict=True):
            assert re.fullmatch(
                rf"{name}: .+, (default .+|required); {re.escape(option.help)}", line
            )


def test_the_list_says_types_limits_and_defaults() -> None:
    text = list_components()
    for line in (
        "      hidden_size: integer ≥ 1, default 256; units of one direction",
        '      merge: "concat" or "sum" or "mean" or null, default null; how both directions',
        "      dropout: number ≥ 0 < 1, default 0.0; share of units dropped",
        "      learning_rate: number > 0, default 0.001; of the first update",
        "      steps: integer ≥ 1, required; updates until the floor",
        "      coverage: boolean, default false; whether the score sees",
    ):
        assert line in text


def test_one_family_is_listed_alone_and_an_unknown_one_is_told() -> None:
    assert list_components("score").startswith("score\n  additive: ")
    assert "bilstm" not in list_components("score")
    with pytest.raises(UserError, match=r"no family 'scores'; did you mean 'score'\? known: enc"):
        list_components("scores")


def _unknown(value: Any, schema: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Keys and part names that no branch of the schema knows."""
    schema = _resolved(schema)
    branches = [_resolved(branch) for branch in schema.get("anyOf", [schema])]
    if isinstance(value, Mapping):
        fitting = [b for b in branches if "properties" in b and _is_of_type(value, b)]
        if not fitting:
            yield f"{where}: {value.get('type', 'a mapping')}"
        yield from min((list(_of_branch(value, b, where)) for b in fitting), key=len, default=[])
        return
    names = [name for branch in branches for name in branch.get("enum", [])]
    if isinstance(value, str) and names and value not in names:
        yield f"{where}: {value}"


def _of_branch(value: Mapping[str, Any], branch: Mapping[str, Any], where: str) -> Iterator[str]:
    assert branch["additionalProperties"] is False, where
    for key, below in value.items():
        if key not in branch["properties"]:
            yield f"{where}.{key}"
        else:
            yield from _unknown(below, branch["properties"][key], f"{where}.{key}")


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    return json_schema()["$defs"][reference.split("/")[-1]] if reference else schema


def _is_of_type(value: Mapping[str, Any], branch: Mapping[str, Any]) -> bool:
    constant = branch["properties"].get("type", {}).get("const")
    return constant is None or constant == value.get("type", constant)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda file: file.stem)
def test_the_schema_knows_every_key_of_the_houses_configs(config: Path) -> None:
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert list(_unknown(tree, json_schema())) == []


def test_the_schema_knows_parts_by_name_and_with_options() -> None:
    tree = yaml.safe_load(NEEDED.splitlines()[0] + PARTS)
    assert list(_unknown(tree, json_schema())) == []


def test_the_schema_knows_options_laid_over_a_part_that_another_file_names() -> None:
    tree = yaml.safe_load("include: a.yaml\nmodel: {decoder: {dropout: 0.1}}\n")
    assert list(_unknown(tree, json_schema())) == []
    assert list(_unknown({"model": {"decoder": {"dropuot": 0.1}}}, json_schema())) == [
        ".model.decoder.dropuot"
    ]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("serch: {}", ".serch"),
        ("model: {embeding_size: 3}", ".model.embeding_size"),
        ("model: {decoder: loung}", ".model.decoder: loung"),
        ("model: {decoder: {type: loung}}", ".model.decoder: loung"),
        ("model: {encoder: {type: bilstm, width: 3}}", ".model.encoder.width"),
        ("data: {vocabulary: {typ: bpe}}", ".data.vocabulary.typ"),
    ],
)
def test_the_schema_does_not_know_what_is_not_there(text: str, where: str) -> None:
    assert list(_unknown(yaml.safe_load(text), json_schema())) == [where]


def test_the_schema_says_types_ranges_and_meanings_of_options() -> None:
    branches = json_schema()["$defs"]["ModelConfig"]["properties"]["encoder"]["anyOf"]
    bilstm = next(b for b in branches if b.get("properties", {}).get("type") == {"const": "bilstm"})
    size = bilstm["properties"]["hidden_size"]
    assert (size["type"], size["minimum"], size["default"]) == ("integer", 1, 256)
    assert size["description"] == "units of one direction"
    assert bilstm["additionalProperties"] is False
    assert "bilstm" in branches[0]["enum"]


def test_the_schema_knows_which_parts_may_be_left_out() -> None:
    parts = json_schema()["$defs"]["ModelConfig"]["properties"]
    names = ("encoder", "decoder", "attention", "score")
    absent = [name for name in names if {"type": "null"} in parts[name]["anyOf"]]
    assert absent == ["attention", "score"]


def test_every_key_of_the_file_has_a_meaning() -> None:
    def described(section: Mapping[str, Any], where: str) -> Iterator[str]:
        for name, schema in section["properties"].items():
            # A section is described by its own docstring.
            whole = {**_resolved(schema), **schema}
            if not whole.get("description"):
                yield f"{where}.{name}"

    schema = json_schema()
    assert list(described(schema, "")) == []
    for name, section in schema["$defs"].items():
        if "properties" in section:
            assert section["description"], name
            assert list(described(section, name)) == []


def test_every_section_of_the_file_stands_in_the_schema() -> None:
    assert set(json_schema()["properties"]) == {*Experiment.model_fields, "include"}


def test_a_file_may_leave_anything_to_the_one_that_includes_it() -> None:
    assert '"required"' not in json.dumps(json_schema())
