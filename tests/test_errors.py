"""Errors for the user, and suggestions for unknown names."""

import pytest

from nmt.config.schema import Experiment
from nmt.config.validation import walk
from nmt.errors import OTHER_TOOLKITS, UserError, UserErrors, suggest
from nmt.registry import FAMILIES


def test_errors_are_one_line_each() -> None:
    first, second = UserError("no\nway", "a.yaml:3"), UserError("yes")
    both = UserErrors([first, UserErrors([second])])
    assert both.lines == ["a.yaml:3: no way", "yes"]
    assert (first.location, second.location) == ("a.yaml:3", "")


@pytest.mark.parametrize(
    ("name", "known", "remedy"),
    [
        ("epoch", ["steps", "epochs"], "did you mean 'epochs'? known: steps, epochs"),
        ("xyz", ["a", "b"], "known: a, b"),
        ("xyz", [], "known: none"),
        ("dev", ["train", "valid"], "did you mean 'valid'? known: train, valid"),
        ("dev", ["a"], "known: a"),
        ("test", ["target"], "known: target"),
        ("recurrent", ["luong", "bahdanau"], "did you mean 'bahdanau'? known: luong, bahdanau"),
        (
            "learning_rate",
            ["optimizer"],
            "did you mean 'optimizer.learning_rate'? known: optimizer",
        ),
    ],
)
def test_an_unknown_name_gets_a_suggestion(name: str, known: list[str], remedy: str) -> None:
    assert suggest(name, known) == remedy


def test_counterparts_of_names_of_other_toolkits_exist() -> None:
    keys = {".".join(key) for key, _ in walk(Experiment)}
    specs = [spec for family in FAMILIES.values() for spec in family.specs().values()]
    names = {spec.name for spec in specs}
    options = {option for spec in specs for option in spec.options}
    for counterpart in {one for several in OTHER_TOOLKITS.values() for one in several if one}:
        last = counterpart.rpartition(".")[2]
        known = keys | names | options
        assert (
            counterpart in known
            or any(key.endswith(f".{counterpart}") for key in keys)
            or (last in options and counterpart.rpartition(".")[0].split(".")[-1] in FAMILIES)
        ), counterpart
