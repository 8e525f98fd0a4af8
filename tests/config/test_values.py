"""What YAML's plain words become."""

import math
from typing import Any

import pytest

from nmt.config.yaml_source import read_value
from nmt.registry import ComponentConfig
from tests.config.conftest import Read

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
def test_a_plain_word_has_the_value_people_expect(text: str, value: Any) -> None:
    found = read_value(text, "here")
    assert found == value
    assert type(found) is type(value)


def test_infinity_and_nan_are_numbers() -> None:
    assert read_value("-.inf", "here") == -math.inf
    assert math.isnan(read_value(".nan", "here"))


def test_norwegian_is_a_language(read: Read) -> None:
    experiment = read("", "data.source=no")
    assert experiment.data.source == "no"


def test_a_rate_may_be_written_in_every_way(read: Read) -> None:
    for text, rate in (("1e-3", 1e-3), ("0.002", 0.002), ("1", 1.0)):
        optimizer = read("", f"training.optimizer.learning_rate={text}").training.optimizer
        assert optimizer is not None
        assert optimizer.options["learning_rate"] == rate
        assert type(optimizer.options["learning_rate"]) is float


def test_parts_are_named_or_given_with_options_and_defaults_are_filled_in(read: Read) -> None:
    model = read("model: {decoder: luong, score: {type: concat, hidden_size: 7}}").model
    assert model.score == ComponentConfig("concat", {"hidden_size": 7})
    assert model.attention == ComponentConfig("global", {"coverage": False})
    assert model.decoder is not None
    assert model.decoder.options["input_feeding"] is True
    assert model.encoder is not None
    assert model.encoder.type == "bilstm"


def test_a_part_that_is_null_is_the_usual_one(read: Read) -> None:
    assert read("model: {decoder: null}").model == read("").model
