"""Values and errors of YAML files."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from nmt.config.loader import load_experiment
from nmt.config.yaml_source import MAX_DEPTH, MAX_NODES, MAX_SCALAR, read_value, read_yaml
from nmt.errors import UserError
from nmt.files import MAX_CONFIG_BYTES
from tests.config.conftest import Errors, Read

VALUES: dict[str, Any] = {
    "no": "no",
    "yes": "yes",
    "on": "on",
    "off": "off",
    "n": "n",
    "No": "No",
    "true": True,
    "false": False,
    "True": True,
    "null": None,
    "~": None,
    "": None,
    "1e-3": 0.001,
    "1E3": 1000.0,
    "2.5e-4": 0.00025,
    "-1.": -1.0,
    ".5": 0.5,
    "3": 3,
    "-3": -3,
    "'3'": "3",
    "1e": "1e",
    "e3": "e3",
    ".": ".",
    "..": "..",
    "./a": "./a",
    ".e3": ".e3",
    "-e3": "-e3",
    "1_000.5": 1000.5,
    "13a": "13a",
    "[de, no]": ["de", "no"],
    "{a: 1e-1}": {"a": 0.1},
}


@pytest.mark.parametrize(("text", "value"), VALUES.items(), ids=map(repr, VALUES))
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = read_value(text, "here")
    assert found == value
    assert type(found) is type(value)


def test_infinity_and_nan_are_numbers() -> None:
    assert read_value("-.inf", "here") == -math.inf
    not_a_number = read_value(".nan", "here")
    assert isinstance(not_a_number, float)
    assert math.isnan(not_a_number)


def test_no_is_the_code_of_a_language(read: Read) -> None:
    assert read("", "data.source=no").data.source == "no"


@pytest.mark.parametrize(("text", "rate"), [("1e-3", 1e-3), ("0.002", 0.002), ("1", 1.0)])
def test_a_number_may_be_written_as_an_integer_or_with_an_exponent(
    text: str, rate: float, read: Read
) -> None:
    optimizer = read("", f"training.optimizer.learning_rate={text}").training.optimizer
    assert optimizer.options["learning_rate"] == rate
    assert type(optimizer.options["learning_rate"]) is float


INVALID = {
    "training: {epochs: 2\n": "e.yaml:1: invalid YAML: expected ',' or '}', but got",
    "a: [\n 1\n 2,\n b: 3\n": "e.yaml:1: invalid YAML: expected ',' or ']', but got",
    "a: 1\nscore additive\nb: 2\n": "e.yaml:2: invalid YAML: could not find expected ':'; write",
    "a: 1\nb: 'x\nc: 2\n": "e.yaml:2: invalid YAML: found unexpected end of stream; close",
    "a:\n  b: 1\n c: 2\n": "e.yaml:3: invalid YAML: expected <block end>, but found",
    "a: b: c\n": "e.yaml:1: invalid YAML: mapping values are not allowed here",
    "data:\n\ttrain: a\n": "e.yaml:2: invalid YAML: found character '\\t' that cannot start any",
    "x: 1\na: *b\n": "e.yaml:2: invalid YAML: found undefined alias 'b'",
    "x: 1\na: &b [*b]\n": "e.yaml:2: recursive YAML alias; write the value out",
    "a: &b\n  c: {d: *b}\n": "e.yaml:1: recursive YAML alias",
    "x: !!int abc\n": "e.yaml:1: invalid YAML: tag:yaml.org,2002:int of 'abc': invalid literal",
    "x: !!int ''\n": "e.yaml:1: invalid YAML: tag:yaml.org,2002:int of ''",
    "x: !!bool abc\n": "e.yaml:1: invalid YAML: tag:yaml.org,2002:bool of 'abc'",
    "x: !!timestamp abc\n": "e.yaml:1: invalid YAML: tag:yaml.org,2002:timestamp of 'abc'",
    "x: !thing 3\n": "e.yaml:1: invalid YAML: could not determine a constructor for the tag",
    "[a]: 3\n": "e.yaml:1: a key must be a word, not a list or a mapping",
    "- a\n- b\n": "e.yaml:1: an experiment file must be a mapping of sections",
    "words\n": "e.yaml:1: an experiment file must be a mapping of sections",
    "data:\n  train: a\n  valid: b\n  train: c\n": "e.yaml:4: duplicate key 'train'; remove one",
    "data: {}\nmodel: {}\ndata: {}\n": "e.yaml:3: duplicate key 'data'; remove one",
}


@pytest.mark.parametrize(("text", "start"), INVALID.items(), ids=map(repr, INVALID))
def test_invalid_yaml_is_reported_with_its_line(text: str, start: str, errors: Errors) -> None:
    (line,) = errors(text)
    assert line.startswith(start)


def test_an_alias_may_be_used_twice(read: Read) -> None:
    search = read("search: {beam_size: &three 3, block_ngram_repeat: *three}\n").search
    assert (search.beam_size, search.block_ngram_repeat) == (3, 3)


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: not found"):
        load_experiment(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("model: {}\ndata: Mädchen\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml:2: is not UTF-8; save it as UTF-8 text"):
        load_experiment(tmp_path / "latin.yaml")
    with pytest.raises(UserError, match="cannot be read: is a directory; give a file"):
        load_experiment(tmp_path)


def _laughs(levels: int) -> str:
    """Return aliases that stand for 9 ** levels values."""
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]")
    return "\n".join(lines) + "\n"


BOMBS = {
    "aliases": (_laughs(12), "more than 20,000 values, aliases included"),
    "values": ("a: [" + "1, " * MAX_NODES + "1]\n", "more than 20,000 values"),
    "lists": ("a: " + "[" * 5_000 + "]" * 5_000 + "\n", "more than 40 levels of nesting"),
    "mappings": ("{a: " * 5_000 + "1" + "}" * 5_000, "more than 40 levels of nesting"),
    "levels of aliases": (
        "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60)),
        "more than 40 levels of nesting",
    ),
    "digits": ("a: " + "9" * 5_000, "tag:yaml.org,2002:int of 5000 characters; put it in quotes"),
    "base 60": ("a: " + "1:" * 500 + "1", "of 1001 characters"),
    "merge key": (
        _laughs(3) + "b: &b {a: 1}\nc:\n  <<: [" + "*b, " * MAX_NODES + "*b]\n",
        "more than 20,000 values",
    ),
}


@pytest.mark.parametrize(("text", "message"), BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_on_one_short_line(text: str, message: str, errors: Errors) -> None:
    (line,) = errors(text)
    assert message in line
    assert re.match(r"e\.yaml:\d+: invalid YAML: ", line)
    assert len(line) < 250


def test_values_up_to_the_limits_are_read() -> None:
    levels = MAX_DEPTH - 1
    assert read_value("[" * levels + "1" + "]" * levels, "here") is not None
    values = read_value("[" + "1, " * (MAX_NODES - 2) + "1]", "here")
    assert isinstance(values, list)
    assert len(values) == MAX_NODES - 1
    assert read_value("9" * MAX_SCALAR, "here") == int("9" * MAX_SCALAR)


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as stream:
        stream.truncate(MAX_CONFIG_BYTES + 1)
    with pytest.raises(UserError, match=r"large\.yaml: is larger than 1 MiB"):
        read_yaml(file)
