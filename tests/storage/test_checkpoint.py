"""Checkpoints: which one is found, verification, pruning and averaging."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nmt.errors import UserError
from nmt.storage.checkpoint import (
    average_weights,
    find_corruption,
    link_checkpoint,
    read_tensors,
    read_weights,
    write_checkpoint,
)
from nmt.storage.run_checkpoints import candidates, find_checkpoint, prune_checkpoints
from nmt.storage.run_dir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Four checkpoints of one weight each, the third of which is the best."""
    run = RunDir(tmp_path)
    for step in (2, 10, 30, 100):
        tensors = {"a": torch.full((2,), float(step))}
        write_checkpoint(run, step, tensors, {"b": torch.ones(1)}, {"step": step})
    link_checkpoint(run, "best", 30)
    return run


def _names(run: RunDir, which: str) -> list[str]:
    return [path.name for path in candidates(run, which)[0]]


def test_steps_are_sorted_as_numbers(run: RunDir) -> None:
    (run.checkpoints / ".40.part").mkdir()
    (run.checkpoints / "notes").mkdir()
    assert run.steps() == [2, 10, 30, 100]


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("last", ["100", "30", "10", "2"]),
        ("best", ["30", "10", "2", "100"]),
        ("10", ["10"]),
    ],
)
def test_candidates_are_the_requested_one_then_older_then_newer_ones(
    which: str, names: list[str], run: RunDir
) -> None:
    assert _names(run, which) == names


def test_without_a_best_checkpoint_the_newest_comes_first(run: RunDir) -> None:
    (run.checkpoints / "best").unlink()
    assert _names(run, "best") == ["100", "30", "10", "2"]


@pytest.mark.parametrize("which", ["worst", "bset", "-1", ""])
def test_an_unknown_name_is_a_user_error(which: str, run: RunDir) -> None:
    with pytest.raises(UserError, match="use best, last, average or the number of an update"):
        candidates(run, which)


def test_an_unknown_update_is_a_user_error_that_lists_the_available_ones(run: RunDir) -> None:
    with pytest.raises(UserError, match="no checkpoint 11; available: 2, 10, 30, 100"):
        candidates(run, "11")


def test_a_written_checkpoint_is_intact(run: RunDir) -> None:
    for step in run.steps():
        assert find_corruption(run.checkpoints / str(step)) is None
    assert json.loads((run.checkpoints / "2" / "state.json").read_text()) == {"step": 2}


@pytest.mark.parametrize(
    "name", ["model.safetensors", "training.safetensors", "state.json", "SHA256SUMS"]
)
def test_any_changed_byte_of_any_file_is_found(name: str, run: RunDir) -> None:
    folder = run.checkpoints / "100"
    data = (folder / name).read_bytes()
    for position in range(0, len(data), max(1, len(data) // 7)):
        changed = bytearray(data)
        changed[position] ^= 1
        (folder / name).write_bytes(bytes(changed))
        assert find_corruption(folder) is not None, position
    (folder / name).write_bytes(data[:-1])
    # The line break after the last checksum may be missing.
    assert (find_corruption(folder) is None) == (name == "SHA256SUMS")
    (folder / name).write_bytes(data)
    assert find_corruption(folder) is None
    (folder / name).unlink()
    assert find_corruption(folder) == f"{name} cannot be read: No such file or directory"


def test_damaged_checkpoints_are_skipped_with_a_warning_each(run: RunDir) -> None:
    (run.checkpoints / "100" / "state.json").write_text("{}")
    (run.checkpoints / "30" / "SHA256SUMS").write_text("")
    found, warnings = find_checkpoint(run, "last")
    assert found.name == "10"
    assert [warning.split(":")[0][-3:].strip("/") for warning in warnings] == ["100", "30"]
    assert "state.json does not match its checksum" in warnings[0]
    assert "SHA256SUMS is empty" in warnings[1]


def test_a_checkpoint_of_the_same_update_is_replaced(run: RunDir) -> None:
    (run.checkpoints / "10" / "extra").write_text("")
    write_checkpoint(run, 10, {"a": torch.zeros(2)}, {}, {"step": 10})
    assert not (run.checkpoints / "10" / "extra").exists()
    assert load_file(run.checkpoints / "10" / "model.safetensors")["a"].tolist() == [0, 0]
    # The newest one is the last one, even if the link leads to another.
    assert _names(run, "last")[0] == "100"


@pytest.mark.parametrize(("keep", "left"), [(1, [30, 100]), (2, [30, 100]), (3, [10, 30, 100])])
def test_pruning_keeps_the_newest_and_the_linked_checkpoints(
    keep: int, left: list[int], run: RunDir
) -> None:
    prune_checkpoints(run, keep)
    assert run.steps() == left


def test_weights_are_averaged_in_float64(run: RunDir) -> None:
    generator = np.random.default_rng(3)
    values = [generator.normal(size=(5, 4)).astype(np.float32) * 10.0**n for n in (-3, 0, 6)]
    for step, value in zip((2, 10, 30), values, strict=True):
        write_checkpoint(run, step, {"w": torch.from_numpy(value)}, {}, {})
    folders = [run.checkpoints / str(step) for step in (2, 10, 30)]
    (mean,) = average_weights(map(read_weights, folders)).values()
    exact = np.mean([value.astype(np.float64) for value in values], axis=0)
    assert mean.dtype == torch.float32
    assert np.array_equal(mean.numpy(), exact.astype(np.float32))


def test_a_file_that_is_not_safetensors_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x02pickle")
    with pytest.raises(UserError, match=r"model.safetensors: cannot be read"):
        read_tensors(tmp_path / "model.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    assert read_tensors(tmp_path / "model.safetensors")["a"].item() == 1
