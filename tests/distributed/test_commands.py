"""Commands as several processes that torchrun starts."""

import time
from pathlib import Path
from subprocess import PIPE
from typing import Any, NoReturn

import pytest

from nmt.cli.windows import spread_windows
from nmt.distributed.launch import INTERNAL_ERROR, run_as_rank
from nmt.distributed.process_group import SINGLE_PROCESS_GROUP, ProcessGroup
from nmt.distributed.rank import SINGLE_PROCESS, RankInfo
from nmt.errors import UserError
from tests.commands import lines_of, nmt_eval, nmt_train, nmt_translate, tree_of
from tests.conftest import start_ranks

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "TORCHELASTIC_RESTART_COUNT": "2",
}


def _by_ranks(here: Path, *arguments: object, given: str | None = None) -> tuple[int, str, str]:
    process = start_ranks("translate", *arguments, "--threads", 1, cwd=here, stdin=PIPE)
    out, err = process.communicate(given, timeout=600)
    return process.returncode, out, err


@pytest.mark.slow
def test_two_processes_write_what_one_writes(
    trained: Path, sources: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        text = "\n".join(["", *sources[:9], " ", "Hallo"])
        (folder / "odd.de").write_text(text, encoding="utf-8")
    options = ["-m", trained, "odd.de", "-b", 2, "--n-best", 2, "-o", "out"]
    options += ["--alignments", "links", "--attention", "pictures"]
    assert _by_ranks(two, *options)[:2] == (0, "")
    monkeypatch.chdir(one)
    assert nmt_translate(*options).code == 0
    assert len(lines_of(one / "links")) == 12
    assert tree_of(one) == tree_of(two)


@pytest.mark.slow
def test_what_is_drawn_from_standard_input_does_not_depend_on_the_number_of_processes(
    trained: Path, sources: list[str], tmp_path: Path
) -> None:
    # The tiny model's products differ in their last bits with the rows beside a sentence.
    options = ["-m", trained, "--sample", "--jsonl", "--batch-sentences", 1, "--max-length", 12]
    given = "\n".join(sources[:7]) + "\n"
    code, out, err = _by_ranks(tmp_path, *options, given=given)
    assert code == 0, err
    assert out == nmt_translate(*options, given=given).out


@pytest.mark.slow
def test_a_mistake_is_told_once(trained: Path, tmp_path: Path) -> None:
    code, out, err = _by_ranks(tmp_path, "-m", trained, "-m", tmp_path, "-", given="x\n")
    assert (code, out) == (1, "")  # torchrun's own
    (told,) = [line for line in err.splitlines() if line.startswith("nmt-")]
    assert told.startswith(f"nmt-translate: {tmp_path}: is not a run")
    assert "exitcode  : 2" in err


class _Recorded(ProcessGroup):
    """One of several, each of which works when the test lets it; windows are told beforehand."""

    def __init__(self, info: RankInfo, told: list[Any], gathered: dict[int, list[Any]]) -> None:
        super().__init__(info)
        self.told, self.gathered = told, gathered

    def broadcast(self, value: Any) -> Any:
        return value if self.is_first else self.told.pop(0)

    def gather(self, value: Any) -> list[Any]:
        self.gathered.setdefault(self.rank, []).append(value)
        if not self.is_first:
            return []
        return [self.gathered[number].pop(0) for number in range(self.world_size)]


def test_results_of_windows_come_in_order() -> None:
    windows = [[1, 2, 3, 4, 5], [6], [7, 8, 9]]

    def work(items: list[int], numbers: range) -> list[str]:
        return [f"{item} at {number}" for item, number in zip(items, numbers, strict=True)]

    told = [*windows, None]
    gathered: dict[int, list[Any]] = {}
    found = {}
    for number in (1, 2, 0):
        ranks = _Recorded(RankInfo(number, 3), list(told), gathered)
        own = iter(windows) if number == 0 else iter(())
        found[number] = list(spread_windows(own, work, ranks))
    assert found == {0: [f"{n} at {n - 1}" for n in range(1, 10)], 1: [], 2: []}
    assert list(spread_windows(iter(windows), work, SINGLE_PROCESS_GROUP)) == found[0]


@pytest.fixture(autouse=True)
def no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing rank sets one for its process, which here is that of all tests."""
    monkeypatch.setattr("signal.alarm", lambda seconds: None)


def test_the_place_of_a_process_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RankInfo.from_environment() == SINGLE_PROCESS
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert RankInfo.from_environment() == RankInfo(3, 8, 1, 2)


def test_what_one_process_does_is_refused_to_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (TORCHRUN | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    assert "requires a single process; run it without torchrun" in nmt_train("--list").complaint
    assert "requires a single process; run it without torchrun" in nmt_eval("a", "b").complaint


def test_processes_after_the_first_wait_before_they_tell_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)

    def fail() -> NoReturn:
        raise UserError("wrong")

    for number, times in ((0, 0), (2, 1)):
        with pytest.raises(UserError, match="wrong"):
            run_as_rank("nmt-train", RankInfo(number, 3), fail)
        assert len(waited) == times


def test_whoever_lost_the_others_waits_and_says_no_more_than_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)

    def lose() -> NoReturn:
        raise RuntimeError("gloo: connection closed by peer")

    assert run_as_rank("nmt-train", RankInfo(0, 2), lose) == INTERNAL_ERROR
    assert len(waited) == 1
    told = "nmt-train: lost connection to the other processes: gloo: connection closed by peer\n"
    assert capsys.readouterr().err == told
