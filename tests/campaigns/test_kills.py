"""Interrupted and failing runs: the same command again ends as the uninterrupted run."""

import random
import signal
from pathlib import Path
from typing import NamedTuple

from tests.campaigns.file_events import Faults
from tests.campaigns.processes import INTERRUPTED, SUCCESS, USER_ERROR, Commands, Ended
from tests.campaigns.rounds import each
from tests.campaigns.runs import copy_inputs, difference, events, train


class Kill(NamedTuple):
    """An action at a share of the file events of a run."""

    action: str
    share: float


# Number of cases per action, spread over all file events of a run.
KILLS = {"kill": 150, "terminate": 20, "interrupt": 20, "interrupt twice": 20}
ERRORS = {"ENOSPC": 40, "EIO": 40, "EDQUOT": 10, "EROFS": 10}
# An error of a full or read-only disk lasts until the process ends.
LASTING = ("ENOSPC", "EDQUOT", "EROFS")
MAX_SECONDS = 3.0


def _spread(counts: dict[str, int]) -> list[tuple[str, Kill]]:
    return [
        (f"{action}, {number} of {count}", Kill(action, number / count))
        for action, count in counts.items()
        for number in range(count)
    ]


def _at(shared: Path, share: float) -> int:
    """Return the number of the event at a share of all events."""
    # TensorBoard's files are not part of what continues, and have a third of all events.
    numbers = [n for n, event in enumerate(events(shared)) if "tfevents" not in event]
    return numbers[int(share * len(numbers))]


def _check_continuation(folder: Path, shared: Path, commands: Commands, first: Ended) -> None:
    again = train(folder, commands)
    story = f"\n{first.err[-1500:]}\nagain:\n{again.err[-1500:]}"
    assert again.code == SUCCESS, story
    assert again.fault() is None, story
    different = difference(folder / "run", shared / "run")
    assert different is None, f"{different}{story}"


@each(_spread(KILLS), short=3)
def test_run_killed_at_file_event_continues_exactly(
    case: Kill, shared: Path, commands: Commands, tmp_path: Path
) -> None:
    copy_inputs(shared, tmp_path)
    faults = Faults(str(tmp_path / "run"), at=_at(shared, case.share), action=case.action)
    ended = train(tmp_path, commands, faults=faults)
    # A second Ctrl-C ends a command at once, even while it is leaving after the first.
    codes = {
        "kill": [-signal.SIGKILL],
        "interrupt twice": [INTERRUPTED, -signal.SIGINT],
    }.get(case.action, [INTERRUPTED])
    # An interrupt at one of the last events finds a run that is complete.
    codes += [SUCCESS] if case.action != "kill" and case.share >= 0.9 else []
    if case.action != "interrupt twice":
        assert ended.fault(codes) is None, ended.fault(codes)
    assert ended.code in codes, ended.err
    _check_continuation(tmp_path, shared, commands, ended)


@each(_spread(ERRORS), short=2)
def test_run_with_failing_disk_ends_in_one_line_and_continues_exactly(
    case: Kill, shared: Path, commands: Commands, tmp_path: Path
) -> None:
    copy_inputs(shared, tmp_path)
    at, lasting = _at(shared, case.share), case.action in LASTING
    faults = Faults(str(tmp_path / "run"), at=at, action=case.action, repeat=lasting)
    ended = train(tmp_path, commands, faults=faults)
    event = events(shared)[at]
    assert ended.fault() is None, f"{event}: {ended.fault()}"
    if ended.code == USER_ERROR:
        # Earlier lines are those of the log.
        assert len(ended.complaints) == 1, f"{event}: {ended.err}"
    _check_continuation(tmp_path, shared, commands, ended)


@each([(f"seed {seed}", seed) for seed in range(20)], short=1)
def test_run_killed_several_times_at_random_continues_exactly(
    case: int, shared: Path, commands: Commands, tmp_path: Path
) -> None:
    copy_inputs(shared, tmp_path)
    moments = random.Random(case)
    for _ in range(moments.randrange(1, 5)):
        at = [(MAX_SECONDS * moments.random(), signal.SIGKILL)]
        ended = train(tmp_path, commands, signals=at)
        assert ended.fault((SUCCESS, -signal.SIGKILL)) is None, ended.err
    _check_continuation(tmp_path, shared, commands, ended)


@each(
    [(f"{size} bytes", size) for size in (500, 1000, 2000, 3000, 10_000, 100_000, 240_000)], short=1
)
def test_file_size_limit_ends_in_one_line_and_run_continues_exactly(
    case: int, shared: Path, commands: Commands, tmp_path: Path
) -> None:
    """The kernel itself fails a write in the middle, as it does on a full disk."""
    copy_inputs(shared, tmp_path)
    ended = train(tmp_path, commands, file_bytes=case)
    assert ended.fault() is None, ended.fault()
    _check_continuation(tmp_path, shared, commands, ended)
