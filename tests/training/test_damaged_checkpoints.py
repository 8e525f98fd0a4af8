"""Damaged checkpoints, which are reported and replaced by the previous one."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nmt.storage.checksums import write_checksums
from tests.commands import nmt_train, nmt_translate, state_of, write_experiment

Damage = Callable[[Path], None]


def flip_bit(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-100] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))


def truncate(folder: Path) -> None:
    data = (folder / "training.safetensors").read_bytes()
    (folder / "training.safetensors").write_bytes(data[: len(data) // 2])


def remove_state(folder: Path) -> None:
    (folder / "state.json").unlink()


def remove_checksums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()


DAMAGES: list[tuple[Damage, str]] = [
    (flip_bit, "model.safetensors does not match its checksum"),
    (truncate, "training.safetensors does not match its checksum"),
    (remove_state, "state.json cannot be read"),
    (remove_checksums, "SHA256SUMS cannot be read"),
]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An experiment file and its run of six updates with a checkpoint every two."""
    from tests.conftest import tiny_experiment

    folder = tmp_path_factory.mktemp("short")
    tree: dict[str, Any] = tiny_experiment()
    tree["training"] |= {"epochs": None, "steps": 6, "validate_every": 2, "keep": 5}
    tree["training"]["early_stopping"] = {"metric": "loss"}
    tree["evaluation"] = {"samples": 0, "pictures": 0}
    tree["search"] = {"beam_size": 1, "max_length": 5}
    file = write_experiment(folder / "short.yaml", tree)
    assert nmt_train(file, "--run", folder / "run").code == 0
    return file, folder / "run"


@pytest.fixture
def copied(short: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the run, to be damaged."""
    shutil.copytree(short[1], tmp_path / "run", symlinks=True)
    return short[0], tmp_path / "run"


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_training_continues_from_previous_checkpoint_and_replaces_the_damaged_one(
    damage: Damage, words: str, copied: tuple[Path, Path], short: tuple[Path, Path]
) -> None:
    file, run = copied
    damage(run / "checkpoints" / "6")
    called = nmt_train(file, "--run", run)
    assert called.code == 0
    assert f"{run / 'checkpoints' / '6'}: damaged ({words}" in called.err
    assert "continuing after update 4" in called.err
    assert words in (run / "train.log").read_text(encoding="utf-8")
    for name in ("model.safetensors", "training.safetensors"):
        mended, whole = (folder / "checkpoints" / "6" / name for folder in (run, short[1]))
        assert mended.read_bytes() == whole.read_bytes()
    states = [state_of(folder / "checkpoints" / "6") for folder in (run, short[1])]
    assert states[0] == states[1]


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_translation_uses_previous_checkpoint_with_a_warning(
    damage: Damage, words: str, copied: tuple[Path, Path]
) -> None:
    _, run = copied
    damage(run / "checkpoints" / "6")
    called = nmt_translate("-m", run, "--checkpoint", "last", given="Guten Morgen!\n")
    if damage is truncate:
        # Translation needs no training.safetensors, so it works with a copy that lacks the file.
        assert called.code == 0
        assert "damaged" not in called.err
        return
    assert called.code == 0
    assert f"damaged ({words}" in called.err
    before = nmt_translate("-m", run, "--checkpoint", 4, given="Guten Morgen!\n")
    assert before.out == called.out
    assert "damaged" not in before.err


def test_damaged_best_checkpoint_is_replaced_by_the_previous_one(copied: tuple[Path, Path]) -> None:
    _, run = copied
    assert (run / "checkpoints" / "best").resolve().name == "6"
    flip_bit(run / "checkpoints" / "6")
    called = nmt_translate("-m", run, "--scores", given="Guten Morgen!\n")
    assert "damaged" in called.err
    expected = nmt_translate("-m", run, "--scores", "--checkpoint", 4, given="Guten Morgen!\n")
    assert called.out == expected.out


def test_damaged_checkpoint_requested_by_number_is_an_error(copied: tuple[Path, Path]) -> None:
    _, run = copied
    flip_bit(run / "checkpoints" / "4")
    called = nmt_translate("-m", run, "--checkpoint", 4, given="Guten Morgen!\n")
    assert "no intact checkpoint '4'" in called.complaint


def test_average_excludes_damaged_checkpoint(copied: tuple[Path, Path]) -> None:
    _, run = copied
    flip_bit(run / "checkpoints" / "4")
    called = nmt_translate("-m", run, "--checkpoint", "average", given="Guten Morgen!\n")
    assert called.code == 0
    assert "not averaged" in called.err


def test_run_without_intact_checkpoint_is_an_error(copied: tuple[Path, Path]) -> None:
    file, run = copied
    for step in ("2", "4", "6"):
        flip_bit(run / "checkpoints" / step)
    assert "no intact checkpoint" in nmt_translate("-m", run, given="x\n").complaint
    assert "no intact checkpoint" in nmt_train(file, "--run", run).complaint
    assert (run / "checkpoints" / "2").is_dir()


def test_unfinished_checkpoint_is_ignored_and_removed(copied: tuple[Path, Path]) -> None:
    file, run = copied
    shutil.copytree(run / "checkpoints" / "6", run / "checkpoints" / ".6.part")
    remove_state(run / "checkpoints" / ".6.part")
    shutil.rmtree(run / "checkpoints" / "6")
    called = nmt_train(file, "--run", run)
    assert called.code == 0
    assert "continuing after update 4" in called.err
    assert (run / "checkpoints" / "last").resolve().name == "6"
    assert not (run / "checkpoints" / ".6.part").exists()


def test_full_disk_is_an_error_and_keeps_the_last_checkpoint(
    copied: tuple[Path, Path],
) -> None:
    file, run = copied
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = (run / "checkpoints" / "6" / "training.safetensors").stat().st_size - 1
    shutil.rmtree(run / "checkpoints" / "6")
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
    try:
        called = nmt_train(file, "--run", run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert called.code == 2
    assert "the checkpoint cannot be written:" in called.complaint
    assert not [path for path in (run / "checkpoints").iterdir() if "6" in path.name]
    again = nmt_train(file, "--run", run)
    assert "continuing after update 4" in again.err
    assert (run / "checkpoints" / "last").resolve().name == "6"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("step", "6", "step is not a count"),
        ("position", {"epoch": 0}, "lacks position.batch"),
        ("position", {"epoch": 0, "batch": 0, "other": 0}, "does not fit the model"),
    ],
)
def test_state_of_other_kinds_is_refused(
    key: str, value: object, message: str, copied: tuple[Path, Path]
) -> None:
    file, run = copied
    checkpoint = run / "checkpoints" / "6"
    state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    (checkpoint / "state.json").write_text(json.dumps(state | {key: value}), encoding="utf-8")
    write_checksums(checkpoint, ["model.safetensors", "training.safetensors", "state.json"])
    found = nmt_train(file, "training.steps=7", "--run", run)
    assert (found.code, message in found.complaint) == (2, True), found.complaint
