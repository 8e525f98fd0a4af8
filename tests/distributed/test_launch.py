"""Ranks: reading them from the environment, and commands that fail on one of several."""

import os
import subprocess
import sys
import time
from typing import NoReturn

import pytest

from nmt.distributed.launch import INTERNAL_ERROR, INTERRUPTED, run_as_rank
from nmt.distributed.rank import SINGLE_PROCESS, RankInfo
from nmt.errors import UserError
from tests.commands import nmt_eval, nmt_train

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "TORCHELASTIC_RESTART_COUNT": "2",
}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that commands wait, which no test does; no alarm and no signal is set."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr("signal.alarm", lambda seconds: None)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    return waits


def test_rank_info_is_read_from_the_variables_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RankInfo.from_environment() == SINGLE_PROCESS
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert RankInfo.from_environment() == RankInfo(3, 8, 1, 2)


def test_commands_for_a_single_process_refuse_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (TORCHRUN | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("nmt.cli.common.end_rank", sys.exit)
    message = "requires a single process; run it without torchrun"
    assert message in nmt_train("--list").complaint
    assert message in nmt_eval("a", "b").complaint


def test_only_the_first_rank_reports_a_user_error_at_once(waits: list[float]) -> None:
    def fail() -> NoReturn:
        raise UserError("wrong")

    for rank, count in ((0, 0), (2, 1)):
        with pytest.raises(UserError, match="wrong"):
            run_as_rank("nmt-train", RankInfo(rank, 3), fail)
        assert len(waits) == count


def test_a_lost_connection_is_reported_after_waiting(
    waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def lose() -> NoReturn:
        raise RuntimeError("gloo: connection closed by peer")

    assert run_as_rank("nmt-train", RankInfo(0, 2), lose) == INTERNAL_ERROR
    assert len(waits) == 1
    message = "nmt-train: lost connection to the other processes: gloo: connection closed by peer\n"
    assert capsys.readouterr().err == message


def test_only_the_first_rank_reports_an_interrupt() -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    assert run_as_rank("nmt-train", RankInfo(1, 2), interrupt) == INTERRUPTED
    with pytest.raises(KeyboardInterrupt):
        run_as_rank("nmt-train", RankInfo(0, 2), interrupt)


ENDING = """
import atexit, sys
from nmt.cli.common import run

class Finalized:
    def __del__(self):
        print("finalized")

kept = Finalized()
atexit.register(print, "exit function")
sys.exit(run("nmt-train", lambda: print("written") or 3))
"""


@pytest.mark.parametrize(("environment", "last"), [({}, "finalized\n"), (TORCHRUN, "")])
def test_a_rank_ends_without_finalizing_the_interpreter(
    environment: dict[str, str], last: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING], env=os.environ | environment, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (3, "")
    assert ended.stdout == "written\nexit function\n" + last
