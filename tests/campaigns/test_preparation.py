"""A disk that is full while a run is prepared: vocabularies, encoded text, and their cache."""

import shutil
from pathlib import Path

from tests.campaigns.file_events import Faults
from tests.campaigns.processes import SUCCESS, USER_ERROR, Commands, Ended
from tests.campaigns.rounds import Tally
from tests.campaigns.runs import copy_inputs, difference, train
from tests.commands import tree_of

# A cache that runs share, outside of the run.
CACHE = ("data.cache=cache",)
SHORT_STRIDE = 29
# Files that a start may add to before it fails.
LOGS = ("run/.lock", "run/train.log", "run/tensorboard/")


def _record(folder: Path, commands: Commands, *overrides: str) -> list[str]:
    """Train; return the file events of the command."""
    record = folder / "events"
    ended = train(folder, commands, "run", overrides, faults=Faults(str(folder), str(record)))
    assert ended.code == SUCCESS, ended.err
    lines = record.read_text(encoding="utf-8").splitlines()
    record.unlink()
    return lines


def _train_on_full_disk(folder: Path, commands: Commands, at: int, *overrides: str) -> str | None:
    """Train with a disk that is full from an event on; return a description of any fault."""
    before = _files(folder)
    faults = Faults(str(folder), at=at, action="ENOSPC", repeat=True)
    ended = train(folder, commands, "run", overrides, faults=faults)
    fault = _fault(ended, before, _files(folder))
    return fault and f"event {at}: {fault}"


def _fault(
    ended: Ended, before: dict[str, bytes | str], after: dict[str, bytes | str]
) -> str | None:
    if (fault := ended.fault([USER_ERROR])) is not None:
        return fault
    if len(ended.complaints) != 1 or "No space left on device" not in ended.complaints[0]:
        return f"not one line about the disk: {ended.complaints}"
    changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    return f"changed files: {sorted(changed)}" if changed else None


def _files(folder: Path) -> dict[str, bytes | str]:
    # An entry of the cache is complete, whatever fails after it.
    return {
        name: content
        for name, content in tree_of(folder).items()
        if not name.startswith(LOGS) and ("cache/" not in name or ".part" in name)
    }


def test_disk_full_during_preparation_is_one_line_and_leaves_no_run(
    shared: Path, commands: Commands, tmp_path: Path, full: bool, tally: Tally
) -> None:
    copy_inputs(shared, tmp_path)
    lines = _record(tmp_path, commands, *CACHE, "training.steps=1")
    last = max(number for number, line in enumerate(lines) if "/cache/" in line)
    for at in range(0, last + 1, 1 if full else SHORT_STRIDE):
        for name in ("run", "cache"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        tally.add(_train_on_full_disk(tmp_path, commands, at, *CACHE))
        if (tmp_path / "run").exists():
            tally.add(f"event {at}: a directory is left")
    tally.check()


def test_disk_full_while_the_cache_is_renewed_leaves_a_run_that_continues(
    shared: Path, commands: Commands, tmp_path: Path, full: bool, tally: Tally
) -> None:
    copy_inputs(shared, tmp_path)
    run, half = tmp_path / "run", shared / "half"
    # Without the cache, as a user may remove it to gain space, and without leftovers of the kill,
    # which the first start would remove: TensorBoard's thread decides at which event it came.
    ignored = shutil.ignore_patterns("cache", ".*.part")
    shutil.copytree(half, run, symlinks=True, ignore=ignored)
    lines = _record(tmp_path, commands)
    shutil.rmtree(run)
    shutil.copytree(half, run, symlinks=True, ignore=ignored)
    numbers = [number for number, line in enumerate(lines) if "run/cache" in line]
    for at in numbers if full else numbers[::SHORT_STRIDE]:
        shutil.rmtree(run / "cache", ignore_errors=True)
        tally.add(_train_on_full_disk(tmp_path, commands, at))
    tally.check()
    again = train(tmp_path, commands)
    assert again.code == SUCCESS, again.err
    assert (different := difference(run, shared / "run")) is None, different
