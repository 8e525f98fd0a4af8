"""A damaged checkpoint is named, and the one before it is used."""

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import nmt_train, nmt_translate, state_of, write_experiment

Damage = Callable[[Path], None]


def flip(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-100] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))


def cut(folder: Path) -> None:
    data = (folder / "training.safetensors").read_bytes()
    (folder / "training.safetensors").write_bytes(data[: len(data) // 2])


def lose(folder: Path) -> None:
    (folder / "state.json").unlink()


def forget_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()


DAMAGES: list[tuple[Damage, str]] = [
    (flip, "model.safetensors does not match its checksum"),
    (cut, "training.safetensors does not match its checksum"),
    (lose, "state.json cannot be read"),
    (forget_sums, "SHA256SUMS cannot be read"),
]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An experiment file and its run of six updates with a checkpoint every two."""
    from tests.conftest import tiny_experiment

    folder = tmp_path_factory.mktemp("short")
    tree: dict[str, Any] = tiny_experiment()
    tree["training"] |= {"epochs": None, "steps": 6, "validate_every": 2, "keep": 5}
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
def test_training_goes_on_from_the_checkpoint_before_and_mends_the_damage(
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
def test_translating_names_it_and_takes_the_one_before(
    damage: Damage, words: str, copied: tuple[Path, Path]
) -> None:
    _, run = copied
    damage(run / "checkpoints" / "6")
    called = nmt_translate("-m", run, "--checkpoint", "last", given="Guten Morgen!\n")
    assert called.code == 0
    assert f"damaged ({words}" in called.err
    before = nmt_translate("-m", run, "--checkpoint", 4, given="Guten Morgen!\n")
    assert before.out == called.out
    assert before.err == ""


def test_a_damaged_best_gives_way_to_the_one_before_it(copied: tuple[Path, Path]) -> None:
    _, run = copied
    (run / "checkpoints" / "best").unlink()
    (run / "checkpoints" / "best").symlink_to("4")
    flip(run / "checkpoints" / "4")
    called = nmt_translate("-m", run, "--scores", given="Guten Morgen!\n")
    assert "damaged" in called.err
    expected = nmt_translate("-m", run, "--scores", "--checkpoint", 2, given="Guten Morgen!\n")
    assert called.out == expected.out


def test_a_step_that_was_asked_for_by_number_has_no_substitute(copied: tuple[Path, Path]) -> None:
    _, run = copied
    flip(run / "checkpoints" / "4")
    called = nmt_translate("-m", run, "--checkpoint", 4, given="Guten Morgen!\n")
    assert "no intact checkpoint '4'" in called.complaint


def test_an_average_leaves_the_damaged_one_out(copied: tuple[Path, Path]) -> None:
    _, run = copied
    flip(run / "checkpoints" / "4")
    called = nmt_translate("-m", run, "--checkpoint", "average", given="Guten Morgen!\n")
    assert called.code == 0
    assert "not averaged" in called.err


def test_nothing_whole_is_an_error(copied: tuple[Path, Path]) -> None:
    file, run = copied
    for step in ("2", "4", "6"):
        flip(run / "checkpoints" / step)
    assert "no intact checkpoint" in nmt_translate("-m", run, given="x\n").complaint
    assert "no intact checkpoint" in nmt_train(file, "--run", run).complaint
    assert (run / "checkpoints" / "2").is_dir()


def test_what_was_left_of_an_unfinished_checkpoint_does_no_harm(copied: tuple[Path, Path]) -> None:
    file, run = copied
    shutil.copytree(run / "checkpoints" / "6", run / "checkpoints" / ".6.part")
    lose(run / "checkpoints" / ".6.part")
    shutil.rmtree(run / "checkpoints" / "6")
    called = nmt_train(file, "--run", run)
    assert called.code == 0
    assert "continuing after update 4" in called.err
    assert (run / "checkpoints" / "last").resolve().name == "6"
    assert not (run / "checkpoints" / ".6.part").exists()


def test_a_disk_that_takes_no_more_is_told_and_the_last_checkpoint_stands(
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
