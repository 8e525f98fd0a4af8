"""Every option accepts an odd value or reports it, quickly and with its name."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmt.component_spec import REQUIRED
from nmt.config.component_fields import component_of
from nmt.config.schema import Experiment
from nmt.config.search_options import SearchOptions
from nmt.config.sections import section_of, walk
from nmt.config.validation import validate
from nmt.config.yaml_source import Key
from nmt.errors import MAX_LINE, UserError
from nmt.registry import FAMILIES
from tests.config.conftest import Errors, Read

REQUIRED_KEYS: dict[str, dict[str, object]] = {
    "data": {"train": Path("train"), "valid": Path("valid"), "source": "de", "target": "en"},
    "training": {"epochs": 1},
}
ODD_VALUES: list[object] = [
    *(0, 1, -1, 7, 1 << 31, 1 << 63, 10**30, 10**400, 10**5000, -(10**5000)),
    *(0.0, -0.5, 1e-320, 1e300, 1.7e308, math.inf, -math.inf, math.nan),
    *(True, None, "", "x" * 5000, "\0", "\ud800", b"bytes", [], [[1]], {}, {"a": {"b": 1}}, {1: 2}),
    *(object(), print, {"type": None}, {"type": "os.abort"}, "os.abort", "..", "a.b"),
]


FIELDS = dict(walk(Experiment))


def options() -> Iterator[Key]:
    """Yield the key of every option of the file and of every component."""
    for key, info in FIELDS.items():
        if section_of(info) is None:
            yield key
        component = component_of(info)
        if component is not None:
            for name, spec in component.registry.specs().items():
                yield from ((*key, name, option) for option in spec.options)


def with_value(key: Key, value: object) -> dict[str, object]:
    """Return an experiment with one option set; a component has its required options."""
    family = FIELDS.get(key[:-2])
    component = component_of(family) if family is not None else None
    if component is not None:
        spec = component.registry.specs()[key[-2]]
        required = {name: 1 for name, o in spec.options.items() if o.default is REQUIRED}
        key, value = key[:-2], {"type": key[-2], **required, key[-1]: value}
    tree: dict[str, object] = {name: {**keys} for name, keys in REQUIRED_KEYS.items()}
    branch = tree
    for name in key[:-1]:
        below = branch.get(name)
        if not isinstance(below, dict):  # missing, or a file name in place of a section
            below = branch[name] = {}
        branch = below
    branch[key[-1]] = value
    return tree


def mistakes(key: Key, value: object) -> list[str]:
    """Return the mistakes in an experiment with one option set."""
    try:
        validate(Experiment, with_value(key, value))
    except UserError as error:
        return error.lines
    return []


@pytest.mark.parametrize("key", list(options()), ids=".".join)
def test_an_odd_value_is_accepted_or_reported(key: Key) -> None:
    for value in ODD_VALUES:
        assert all(len(line) <= MAX_LINE for line in mistakes(key, value))
    for value in (10**30, 10**5000, 1e300, math.inf, math.nan):
        line = mistakes(key, value)[0]  # every number has bounds
        assert line.startswith(key[0]), line


@pytest.mark.parametrize("name", ["beam_size", "n_best", "max_length", "batch_tokens"])
@pytest.mark.parametrize(
    "value", [10**10, 10**5000, -1, 0, 1.5, math.nan, "5", None, [5], True], ids=type
)
def test_python_options_are_checked_like_those_of_a_file(name: str, value: object) -> None:
    if value is None and name in ("max_length", "batch_tokens"):  # both have a default of their own
        return
    with pytest.raises(UserError, match=name):
        SearchOptions().updated({name: value})


BOUNDS = {
    "model.embedding_size=1000000000": "must be at most 65,536, got 1000000000",
    "model.encoder.layers=1000000": "must be at most 256, got 1000000",
    "search.max_length=1000000000": "must be at most 100,000, got 1000000000",
    "search.beam_size=100000": "must be at most 1,000, got 100000",
    "training.optimizer.learning_rate=1e308": "must be at most 1,000,000, got 1e+308",
    "training.optimizer.learning_rate=.inf": "expected a finite number, got inf",
    "training.optimizer.learning_rate=.nan": "expected a finite number, got nan",
    "search.length_penalty.alpha=1e300": "must be at most 10, got 1e+300",
    "training.seed=4294967296": "must be less than 4,294,967,296, got 4294967296",
    f"training.epochs={'9' * 100}": "must be at most 1,000,000,000, got an integer of 333 bits",
}


@pytest.mark.parametrize(("override", "message"), BOUNDS.items(), ids=BOUNDS)
def test_a_number_above_its_bound_is_reported_with_the_bound(
    override: str, message: str, errors: Errors
) -> None:
    (line,) = errors(
        "data: {train: train, valid: valid, source: de, target: en}\ntraining: {epochs: 1}\n",
        override,
    )
    assert line == f"command line: {override.split('=')[0]}: {message}"


def test_many_mistakes_are_counted(errors: Errors) -> None:
    lines = errors("".join(f"key{number}: 1\n" for number in range(1000)))
    assert len(lines) == 51
    assert any(line.endswith("more mistakes") for line in lines)


def test_the_largest_values_are_accepted(read: Read) -> None:
    read("", "search.beam_size=1000", "search.max_length=100000", "model.embedding_size=65536")


def test_every_family_is_covered() -> None:
    families = {
        component.registry.family for i in FIELDS.values() if (component := component_of(i))
    }
    assert families == {registry.family for registry in FAMILIES.values()}
