"""Errors for the user, and suggestions for unknown names."""

import errno

import pytest
import torch

from nmt.config.schema import Experiment
from nmt.config.sections import walk
from nmt.errors import (
    OTHER_TOOLKITS,
    UserError,
    UserErrors,
    explained_out_of_memory,
    file_error,
    is_out_of_memory,
    needed_memory,
    suggest,
)
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


def test_error_of_the_system_names_the_file_and_the_remedy() -> None:
    full = file_error(OSError(errno.ENOSPC, "full", "a.txt"))
    assert str(full) == (
        "a.txt: cannot be written: No space left on device; free some space and repeat the command"
    )
    assert str(file_error(OSError(errno.EISDIR, ""), "b", "cannot be read")) == (
        "b: cannot be read: Is a directory"
    )
    assert str(file_error(OSError("short write"))) == "cannot be written: short write"


def test_failed_allocation_is_a_user_error_with_a_remedy() -> None:
    with (
        pytest.raises(
            UserError, match=r"memory: 1,152,921,504.61 GB more are needed; lower the bat"
        ),
        explained_out_of_memory("lower the batch"),
    ):
        torch.empty(1 << 60, dtype=torch.uint8)
    gpu = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB"
    assert needed_memory(RuntimeError(gpu)) == ": 2.00 GiB more are needed"
    array = "Unable to allocate 3.55 TiB for an array with shape (3900000000000,)"
    assert needed_memory(MemoryError(array)) == ": 3.55 TiB more are needed"
    assert needed_memory(RuntimeError("could not create a primitive")) == ""
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    with pytest.raises(RuntimeError, match="shape"), explained_out_of_memory("x"):
        raise RuntimeError("shape mismatch")
