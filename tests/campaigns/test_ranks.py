"""Two processes of torchrun: killed ones end the job, and the same command continues the run."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.campaigns.processes import SUCCESS, Commands
from tests.campaigns.rounds import each
from tests.campaigns.runs import checkpoints, copy_inputs, difference, train
from tests.conftest import start_ranks

STEPS = 48
OPTIONS = (f"training.steps={STEPS}", "training.save_every=4", "--device", "cpu")
SECONDS = 600


class Failure(NamedTuple):
    """Signals to some of the processes, and the number of processes that continue the run."""

    ranks: tuple[int, ...]
    number: int = signal.SIGKILL
    continued_by: int = 2


FAILURES = {
    "first rank killed": Failure((0,)),
    "second rank killed": Failure((1,)),
    "both killed": Failure((0, 1)),
    "second rank terminated": Failure((1,), signal.SIGTERM),
    "both interrupted": Failure((0, 1), signal.SIGINT),
    "second rank killed, continued by one": Failure((1,), continued_by=1),
    "both killed, continued by three": Failure((0, 1), continued_by=3),
}


def _start(folder: Path, processes: int = 2) -> subprocess.Popen[str]:
    return start_ranks(
        "nmt.cli.train",
        "dates.yaml",
        "--run-dir",
        "run",
        *OPTIONS,
        cwd=folder,
        processes=processes,
        forked=False,
    )


def _finish(job: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = job.communicate(timeout=SECONDS)
    return job.returncode, err


def _process_of_rank(job: subprocess.Popen[str], rank: int) -> int:
    """Return the process of a rank, which torchrun has started."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # the process has ended
            continue
        if parent == job.pid and f"RANK={rank}".encode() in variables:
            return int(entry.name)
    raise AssertionError(f"no process of rank {rank}")


def _wait_for(folder: Path, job: subprocess.Popen[str], step: int) -> None:
    limit = time.monotonic() + SECONDS
    while not (folder / "run" / "checkpoints" / str(step)).exists():
        assert job.poll() is None, _finish(job)
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("ranks")
    copy_inputs(shared, folder)
    code, err = _finish(_start(folder))
    assert code == SUCCESS, err
    return folder / "run"


@each(list(FAILURES.items()), short=0)
def test_failing_rank_ends_the_job_and_the_same_command_continues(
    case: Failure, uninterrupted: Path, commands: Commands, shared: Path, tmp_path: Path
) -> None:
    copy_inputs(shared, tmp_path)
    job = _start(tmp_path)
    _wait_for(tmp_path, job, 12)
    for process in [_process_of_rank(job, rank) for rank in case.ranks]:
        os.kill(process, case.number)
    code, err = _finish(job)
    assert code != SUCCESS
    own = [line for line in err.splitlines() if line.startswith("nmt-")]
    assert not [line for line in own if "Traceback" in line]
    if case.continued_by == 1:
        ended = train(tmp_path, commands, "run", overrides=OPTIONS)
        code, err = ended.code, ended.err
    else:
        code, err = _finish(_start(tmp_path, case.continued_by))
    assert code == SUCCESS, err
    if case.continued_by == 2:
        assert difference(tmp_path / "run", uninterrupted) is None
        return
    # No exact continuation exists with another number of processes; the log says so.
    assert "was written by 2 processes" in err
    assert str(STEPS) in checkpoints(tmp_path / "run")
    assert os.readlink(tmp_path / "run" / "checkpoints" / "last") == str(STEPS)
