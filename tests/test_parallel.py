"""Other processes: order, bounds, mistakes, ends."""

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from nmt.data.corpus import find_corpus
from nmt.errors import UserError
from nmt.parallel import map_in_order, usable_cores


@pytest.mark.parametrize(("count", "processes"), [(0, 2), (1, 3), (7, 1), (7, 2), (7, 3)])
def test_results_come_in_the_order_of_the_items(count: int, processes: int) -> None:
    results = list(map_in_order(math.factorial, range(count), processes))
    assert results == [math.factorial(number) for number in range(count)]


def test_no_more_is_read_than_is_worked_on() -> None:
    items = iter(range(100))
    with closing(map_in_order(math.factorial, items, 2)) as results:
        assert next(results) == 1
        assert next(items) == 3  # 1 and 2 are being worked on
        next(results)
        assert next(items) == 5


def test_a_mistake_of_the_users_comes_through_as_it_is(tmp_path: Path) -> None:
    find = partial(find_corpus, source="de", target="en")
    with pytest.raises(UserError, match="not found") as here:
        find(tmp_path / "missing")
    with pytest.raises(UserError) as there:
        list(map_in_order(find, [tmp_path / "missing"], 2))
    assert str(there.value) == str(here.value)
    assert there.value.lines == here.value.lines
    assert there.value.location == f"{tmp_path}/missing.de"


def test_a_fault_of_our_own_shows_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="see its traceback above"):
        list(map_in_order(math.factorial, [3, -1, 3, 3], 2))
    assert "ValueError: factorial() not defined for negative values" in capfd.readouterr().err


def test_a_process_that_is_killed_is_told() -> None:
    with pytest.raises(UserError, match="was killed by SIGKILL, possibly for lack of memory"):
        list(map_in_order(signal.raise_signal, [signal.SIGKILL], 1))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_end_with_the_work_also_when_it_is_left_early() -> None:
    # A worker leads a process group of its own.
    processes = set(map_in_order(os.getpgid, [0] * 6, 2))
    with closing(map_in_order(os.getpgid, [0] * 6, 2)) as results:
        left = {next(results), next(results)}
        assert all(map(is_running, left))
    assert len(processes) == len(left) == 2
    assert not any(map(is_running, processes | left))


PROGRAM = """
import os, time
from nmt.parallel import map_in_order
results = map_in_order(os.getpgid, [0] * 6, 2)
print(next(results), next(results), flush=True)
time.sleep(600)
"""


def test_processes_end_when_the_one_that_started_them_is_killed() -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    left = [int(word) for word in program.stdout.readline().split()]
    program.kill()
    program.communicate()
    assert len(left) == 2
    while any(_is_alive(process) for process in left):
        time.sleep(0.01)


def _is_alive(process: int) -> bool:
    """Whether it runs; one that has ended may wait to be noticed by whoever took it over."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return is_running(process) and not Path("/proc").is_dir()
    return state.rpartition(")")[2].split()[0] != "Z"


def test_files_in_the_current_folder_are_no_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError", encoding="utf-8")
    (tmp_path / "nmt.py").write_text("raise RuntimeError", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert list(map_in_order(math.factorial, [3], 1)) == [6]


def test_there_is_a_core_to_run_on() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
