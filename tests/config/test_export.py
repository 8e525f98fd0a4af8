"""`--list` and the JSON Schema of the experiment file."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.config.export import json_schema, list_options
from nmt.config.schema import Experiment
from nmt.errors import UserError
from nmt.registry import ENCODERS, FAMILIES
from tests.config.conftest import REQUIRED_KEYS

SCHEMA = json_schema()
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
COMPONENTS = """
include: [a.yaml, b.yaml]
model:
  encoder: {type: bilstm, hidden_size: 3, merge: sum}
  decoder: luong
  score: {type: cosine, sharpness: 2.0}
training: {schedule: {type: cosine}}
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_list_contains_every_component_and_option(family: str) -> None:
    text, all_text = list_options(family), list_options()
    assert text in all_text
    blocks = dict(zip(FAMILIES[family], re.split(r"\n {2}(?=\S)", text)[1:], strict=True))
    for spec in FAMILIES[family].specs().values():
        first, *lines = blocks[spec.name].split("\n      ")
        assert first == f"{spec.name}: {spec.summary}"
        assert len(lines) == len(spec.options)
        for line, (name, option) in zip(lines, spec.options.items(), strict=True):
            assert re.fullmatch(
                rf"{name} \(.+, (default .+|required)\): {re.escape(option.help)}", line
            )


def test_the_list_shows_types_ranges_and_defaults() -> None:
    text = list_options()
    for line in (
        "      hidden_size (integer ≥ 1 and ≤ 65,536, default 256): ",
        "      merge (concat or sum or mean or null, default null): ",
        "      cell (lstm or gru, default lstm): ",
        "      dropout (number ≥ 0 and < 1, default 0.0): ",
        "      learning_rate (number > 0, default 0.001): ",
        "      every (integer ≥ 1, required): ",
        "      coverage (boolean, default false): ",
    ):
        assert line in text


@pytest.mark.parametrize("section", ["data", "model", "training", "search", "evaluation"])
def test_the_list_contains_every_option_of_a_section(section: str) -> None:
    text = list_options(section)
    assert text in list_options()
    schema = SCHEMA
    options = dict(_leaves(schema["properties"][section], schema["$defs"]))
    lines = dict(
        re.findall(r"^  ([\w.]+)(?: \(.+?, (?:required|default .+)\))?: (.+)$", text, re.M)
    )
    kinds = r"\((?:section, default null|path, section or list of these, required)\)"
    sections = set(re.findall(rf"^  ([\w.]+) {kinds}", text, re.M))
    assert lines.keys() - sections == options.keys()
    for name, description in options.items():
        if name.split(".")[-1] not in FAMILIES:
            assert lines[name] == " ".join(description.split())


def _leaves(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the description of every option of a section's JSON Schema."""
    for branch in (schema, *schema.get("anyOf", [])):
        if "$ref" not in branch:
            continue
        section = definitions[branch["$ref"].rsplit("/", 1)[1]]
        for key, value in section["properties"].items():
            if value.get("deprecated"):
                continue
            inner = list(_leaves(value, definitions, f"{prefix}{key}."))
            yield from inner or [(f"{prefix}{key}", value.get("description", ""))]


def test_the_list_of_sections_shows_types_ranges_and_defaults() -> None:
    text = list_options()
    for line in (
        "  train (path, section or list of these, required): ",
        "  vocabulary.type (unigram or bpe or char or word, default unigram): ",
        "  batch_tokens (integer ≥ 1 or auto, default 4000): ",
        "  early_stopping.metric (string or list of string or null, default null): ",
        "  optimizer: a component; see --list optimizer",
    ):
        assert line in text


def test_one_family_is_listed_alone_and_an_unknown_one_is_reported() -> None:
    assert list_options("score").startswith("score\n  additive: ")
    assert "bilstm" not in list_options("score")
    with pytest.raises(UserError, match=r"family 'scores'; did you mean 'score'\? known"):
        list_options("scores")


def _unknown(value: Any, schema: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Yield the keys and component names that the schema does not allow."""
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
    return SCHEMA["$defs"][reference.split("/")[-1]] if reference else schema


def _is_of_type(value: Mapping[str, Any], branch: Mapping[str, Any]) -> bool:
    constant = branch["properties"].get("type", {}).get("const")
    return constant is None or constant == value.get("type", constant)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda file: file.stem)
def test_the_schema_allows_every_key_of_the_configs_of_the_repository(config: Path) -> None:
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert list(_unknown(tree, SCHEMA)) == []


def test_the_schema_allows_components_by_name_and_with_options() -> None:
    tree = yaml.safe_load(REQUIRED_KEYS.splitlines()[0] + COMPONENTS)
    assert list(_unknown(tree, SCHEMA)) == []


def test_the_schema_allows_earlier_spellings() -> None:
    tree = yaml.safe_load(REQUIRED_KEYS.splitlines()[0] + "\nsearch: {stop: likely}\n")
    assert list(_unknown(tree, SCHEMA)) == []


def test_the_schema_allows_options_of_an_included_component() -> None:
    tree = yaml.safe_load("include: a.yaml\nmodel: {decoder: {dropout: 0.1}}\n")
    assert list(_unknown(tree, SCHEMA)) == []
    assert list(_unknown({"model": {"decoder": {"dropuot": 0.1}}}, SCHEMA)) == [
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
def test_the_schema_rejects_unknown_keys_and_components(text: str, where: str) -> None:
    assert list(_unknown(yaml.safe_load(text), SCHEMA)) == [where]


def test_the_schema_describes_the_types_ranges_and_help_of_options() -> None:
    branches = SCHEMA["$defs"]["ModelConfig"]["properties"]["encoder"]["anyOf"]
    bilstm = next(
        b for b in branches if b.get("properties", {}).get("type", {}).get("const") == "bilstm"
    )
    size = bilstm["properties"]["hidden_size"]
    assert (size["type"], size["minimum"], size["default"]) == ("integer", 1, 256)
    assert size["description"] == ENCODERS.find("bilstm").options["hidden_size"].help
    assert bilstm["additionalProperties"] is False
    assert "bilstm" in branches[0]["enum"]


def test_the_schema_allows_null_for_the_default_component() -> None:
    fields = SCHEMA["$defs"]["ModelConfig"]["properties"]
    for name in ("encoder", "decoder", "attention", "score"):
        assert None in fields[name]["anyOf"][0]["enum"]


def test_the_schema_allows_null_for_sections_with_defaults() -> None:
    sections = SCHEMA["properties"]
    assert [key for key, one in sections.items() if {"type": "null"} in one.get("anyOf", [])] == [
        "model",
        "search",
        "evaluation",
    ]


def test_every_key_has_a_description() -> None:
    def described(section: Mapping[str, Any], where: str) -> Iterator[str]:
        for name, schema in section["properties"].items():
            # The description of a section is the docstring of its class.
            whole = {**_resolved(schema), **schema}
            if not whole.get("description"):
                yield f"{where}.{name}"

    schema = SCHEMA
    assert list(described(schema, "")) == []
    for name, section in schema["$defs"].items():
        if "properties" in section:
            assert section["description"], name
            assert list(described(section, name)) == []


def test_the_schema_contains_every_section() -> None:
    assert set(SCHEMA["properties"]) == {*Experiment.model_fields, "include"}


def test_nothing_is_required_because_other_files_may_contain_it() -> None:
    assert '"required"' not in json.dumps(SCHEMA)
