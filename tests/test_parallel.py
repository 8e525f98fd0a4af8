"""Worker processes: order, bounded memory, errors and termination."""

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
from nmt.parallel import WorkerPool, map_in_order, usable_cores


@pytest.mark.parametrize(("count", "processes"), [(0, 2), (1, 3), (7, 1), (7, 2), (7, 3)])
def test_results_are_in_the_order_of_the_items(count: int, processes: int) -> None:
    results = list(map_in_order(math.factorial, range(count), processes))
    assert results == [math.factorial(number) for number in range(count)]


def test_items_are_read_only_as_workers_become_free() -> None:
    items = iter(range(100))
    with closing(map_in_order(math.factorial, items, 2)) as results:
        assert next(results) == 1
        assert next(items) == 3  # the workers have 1 and 2
        next(results)
        assert next(items) == 5


def test_a_user_error_of_a_worker_is_raised_unchanged(tmp_path: Path) -> None:
    find = partial(find_corpus, source="de", target="en")
    with pytest.raises(UserError, match="not found") as direct:
        find(tmp_path / "missing")
    with pytest.raises(UserError) as remote:
        list(map_in_order(find, [tmp_path / "missing"], 2))
    assert str(remote.value) == str(direct.value)
    assert remote.value.lines == direct.value.lines
    assert remote.value.location == f"{tmp_path}/missing.de"


def test_an_internal_error_prints_the_traceback_of_the_worker(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(RuntimeError, match="see its traceback above"):
        list(map_in_order(math.factorial, [3, -1, 3, 3], 2))
    assert "ValueError: factorial() not defined for negative values" in capfd.readouterr().err


def test_a_killed_worker_is_a_user_error() -> None:
    with pytest.raises(UserError, match="was killed by SIGKILL, possibly for lack of memory"):
        list(map_in_order(signal.raise_signal, [signal.SIGKILL], 1))


def test_memory_error_of_a_worker_is_a_user_error() -> None:
    with pytest.raises(UserError, match="out of memory; use fewer workers"):
        list(map_in_order(bytearray, [1 << 62], 1))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_end_when_the_generator_is_closed_early() -> None:
    # Each worker leads a process group, so getpgid(0) is its process ID.
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


def test_workers_end_when_their_parent_is_killed() -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    left = [int(word) for word in program.stdout.readline().split()]
    program.kill()
    program.communicate()
    assert len(left) == 2
    while any(_is_alive(process) for process in left):
        time.sleep(0.01)


def _is_alive(process: int) -> bool:
    """Return whether a process runs; a zombie, whose parent has not reaped it, does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return is_running(process) and not Path("/proc").is_dir()
    return state.rpartition(")")[2].split()[0] != "Z"


def test_files_in_the_current_directory_do_not_shadow_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError", encoding="utf-8")
    (tmp_path / "nmt.py").write_text("raise RuntimeError", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert list(map_in_order(math.factorial, [3], 1)) == [6]


def test_at_least_one_core_is_usable() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def _resource() -> list[int]:
    """Return the process that created the resource, and the number of jobs it has run."""
    return [os.getpid(), 0]


def _job(resource: list[int], items: list[str]) -> list[tuple[str, int, int]]:
    resource[1] += 1
    process, jobs = resource
    return [(item, process, jobs) for item in items]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_pool_returns_a_result_per_item_in_order(count: int) -> None:
    items, own = [f"item {number}" for number in range(count)], _resource()
    with WorkerPool(_resource, 2, "--workers") as pool:
        pool.wait_until_ready()
        results = pool.map(_job, own, items)
    assert [item for item, _, _ in results] == items
    processes = [process for _, process, _ in results]
    assert processes[::3] == [os.getpid()] * len(processes[::3])
    assert len(set(processes)) == min(count, 3)


def test_a_pool_creates_the_resource_of_a_worker_once() -> None:
    own = _resource()
    with WorkerPool(_resource, 1, "--workers") as pool:
        pool.wait_until_ready()
        first, second = (pool.map(_job, own, ["a", "b"]) for _ in range(2))
    assert [result[1] for result in first] == [result[1] for result in second]
    assert [result[2] for result in [*first, *second]] == [1, 1, 2, 2]


def test_a_pool_without_workers_runs_jobs_in_this_process() -> None:
    with WorkerPool(_resource, 0, "--workers") as pool:
        assert len(pool) == 0
        pool.wait_until_ready()
        assert pool.map(_job, _resource(), ["a"]) == [("a", os.getpid(), 1)]


def _fail() -> None:
    raise UserError("no such model")


def test_a_failing_resource_is_a_user_error_when_the_pool_gets_ready() -> None:
    with (
        WorkerPool(_fail, 1, "--workers") as pool,
        pytest.raises(UserError, match="no such model"),
    ):
        pool.wait_until_ready()
