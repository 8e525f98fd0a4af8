"""The links `best` and `last`, which do not survive every copy of a run."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nmt.errors import UserError
from nmt.storage.atomic import read_link, replace_link
from nmt.storage.checkpoint import is_checkpoint, link_checkpoint, write_checkpoint
from nmt.storage.run_checkpoints import (
    adopt_copied_links,
    find_checkpoint,
    prune_checkpoints,
    repair_links,
)
from nmt.storage.run_dir import RunDir

Damage = Callable[[Path], None]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Three checkpoints, the second of which is the best."""
    run = RunDir(tmp_path / "run")
    for step, best in ((2, 2), (4, 4), (6, 4)):
        tensors = {"a": torch.full((2,), float(step))}
        state = {"step": step, "watch": {"best_step": best}}
        write_checkpoint(run, step, tensors, {"b": torch.ones(1)}, state)
        link_checkpoint(run, "best", best)
    return run


def _remove(link: Path) -> None:
    link.unlink()


def _leads_to(target: str) -> Damage:
    def damage(link: Path) -> None:
        link.unlink()
        link.symlink_to(target)

    return damage


def _copied(link: Path) -> None:
    target = link.resolve()
    link.unlink()
    shutil.copytree(target, link)


def _empty_directory(link: Path) -> None:
    link.unlink()
    link.mkdir()


def _foreign_directory(link: Path) -> None:
    _empty_directory(link)
    (link / "thesis.txt").write_text("precious")


def _file(content: bytes) -> Damage:
    def damage(link: Path) -> None:
        link.unlink()
        link.write_bytes(content)

    return damage


def _pipe(link: Path) -> None:
    link.unlink()
    os.mkfifo(link)


DAMAGES = {
    "missing": _remove,
    "older": _leads_to("2"),
    "dangling": _leads_to("5"),
    "loop": _leads_to("best"),
    "outside": _leads_to("/"),
    "superscript": _leads_to("\u00b2"),
    "many digits": _leads_to("9" * 200),
    "copy": _copied,
    "empty directory": _empty_directory,
    "foreign directory": _foreign_directory,
    "empty file": _file(b""),
    "binary file": _file(b"\xff\0"),
    "large file": _file(b"4" * 10_000),
    "pipe": _pipe,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(("name", "step"), [("best", "4"), ("last", "6")])
def test_state_replaces_a_damaged_link_with_one_warning_and_is_repaired(
    name: str, step: str, damage: Damage, run: RunDir
) -> None:
    damage(run.checkpoint(name))
    found, warnings = find_checkpoint(run, name)
    assert found == run.checkpoint(step)
    assert len(warnings) == 1
    assert f"using update {step}" in warnings[0]
    assert str(run.checkpoint(name)) in warnings[0]
    repair_links(run, 6, 4)
    assert read_link(run.checkpoint(name)) == step
    assert find_checkpoint(run, name) == (run.checkpoint(step), [])
    assert run.steps() == [2, 4, 6]


def test_repair_keeps_a_foreign_directory_under_another_name(run: RunDir) -> None:
    _foreign_directory(run.checkpoint("best"))
    repair_links(run, 6, 4)
    assert (run.checkpoints / "best.old1" / "thesis.txt").read_text() == "precious"


def test_text_file_with_the_number_is_a_link(run: RunDir) -> None:
    _file(b"4\r\n")(run.checkpoint("best"))
    assert find_checkpoint(run, "best") == (run.checkpoint(4), [])


@pytest.mark.parametrize("error", [OSError("no privilege"), NotImplementedError()])
def test_without_symbolic_links_text_files_are_written(
    error: Exception, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: str) -> None:
        raise error

    monkeypatch.setattr(Path, "symlink_to", refuse)
    link_checkpoint(run, "best", 2)
    assert run.checkpoint("best").read_text() == "2\n"
    replace_link(run.checkpoint("best"), "6")
    assert read_link(run.checkpoint("best")) == "6"


def test_failing_disk_leaves_the_previous_link(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: str) -> None:
        raise OSError(errno.EIO, "I/O error")

    link_checkpoint(run, "best", 2)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(UserError, match="best: cannot be written: Input/output error"):
        link_checkpoint(run, "best", 6)
    assert os.readlink(run.checkpoint("best")) == "2"


def test_copy_of_the_best_checkpoint_alone_is_found_and_adopted(run: RunDir) -> None:
    _copied(run.checkpoint("best"))
    for step in (2, 4, 6):
        shutil.rmtree(run.checkpoint(step))
    run.checkpoint("last").unlink()
    found, (warning,) = find_checkpoint(run, "best")
    assert found == run.checkpoint("best")
    assert "is a directory" in warning
    adopt_copied_links(run)
    assert run.steps() == [4]


def test_copy_of_the_best_checkpoint_is_used_when_its_number_is_missing(run: RunDir) -> None:
    _copied(run.checkpoint("best"))
    shutil.rmtree(run.checkpoint(4))
    found, (warning,) = find_checkpoint(run, "best")
    assert found == run.checkpoint("best")
    assert "is a directory" in warning


def test_best_that_was_removed_is_named(run: RunDir) -> None:
    shutil.rmtree(run.checkpoint(4))
    found, (warning,) = find_checkpoint(run, "best")
    assert found == run.checkpoint(2)
    assert f"{run.checkpoint(4)}: not found" in warning


def test_killed_before_the_best_link_was_replaced(run: RunDir) -> None:
    state = {"step": 8, "watch": {"best_step": 8}}
    write_checkpoint(run, 8, {"a": torch.ones(1)}, {}, state)  # and then the process was killed
    assert find_checkpoint(run, "best")[0] == run.checkpoint(8)
    prune_checkpoints(run, 1, best=8)
    repair_links(run, 8, 8)
    assert read_link(run.checkpoint("best")) == "8"


def test_pruning_never_removes_the_best_step_of_the_state(run: RunDir) -> None:
    _leads_to("2")(run.checkpoint("best"))
    prune_checkpoints(run, 1, best=4)
    assert run.steps() == [2, 4, 6]


def test_pruning_removes_nothing_foreign_and_follows_no_link(run: RunDir, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "3").mkdir(parents=True)
    (victim / "3" / "thesis.txt").write_text("precious")
    (run.checkpoints / "1").symlink_to(victim / "3")
    shutil.copytree(victim / "3", run.checkpoints / "3")
    (run.checkpoints / "5").write_text("a file")
    prune_checkpoints(run, 1, best=4)
    assert (victim / "3" / "thesis.txt").read_text() == "precious"
    assert (run.checkpoints / "3" / "thesis.txt").read_text() == "precious"
    assert (run.checkpoints / "5").read_text() == "a file"
    assert not run.checkpoint(2).exists()


def test_pruning_removes_nothing_through_a_link_to_another_directory(
    run: RunDir, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    run.checkpoints.rename(elsewhere)
    run.checkpoints.symlink_to(elsewhere)
    prune_checkpoints(run, 1, best=4)
    assert run.steps() == [2, 4, 6]


def test_foreign_directory_of_the_same_number_is_renamed_not_removed(run: RunDir) -> None:
    run.checkpoint(8).mkdir()
    (run.checkpoint(8) / "thesis.txt").write_text("precious")
    write_checkpoint(run, 8, {"a": torch.ones(1)}, {}, {"step": 8})
    assert is_checkpoint(run.checkpoint(8))
    assert (run.checkpoints / "8.old1" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("name", ["\u00b2", "\u0663", "007", "9" * 5_000, "-1", "1.5"])
def test_names_with_other_digits_are_no_steps(name: str, run: RunDir) -> None:
    if len(name) < 200:
        (run.checkpoints / name).mkdir()
    assert run.steps() == [2, 4, 6]
