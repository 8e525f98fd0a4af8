"""nmt-translate in a pipeline of processes."""

import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Queue
from subprocess import PIPE, run
from typing import Any

import pytest

from nmt.parallel import usable_cores
from tests.conftest import start_command


def _read_line(process: Any) -> str:
    """Return the next line of a process's output; fail after a minute."""
    found: Queue[str] = Queue()
    threading.Thread(target=lambda: found.put(process.stdout.readline()), daemon=True).start()
    return found.get(timeout=60)


@pytest.mark.slow
def test_pipe_input_is_translated_line_by_line_until_interrupted(
    trained: Path, expected: list[str], sources: list[str]
) -> None:
    process = start_command("translate", "-m", trained, "--threads", 1, cwd=trained, stdin=PIPE)
    assert process.stdin is not None
    for number in (0, 3, 1):
        process.stdin.write(sources[number] + "\n")
        process.stdin.flush()
        assert _read_line(process) == expected[number] + "\n"
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.stderr is not None
    assert process.stderr.read() == "nmt-translate: interrupted\n"
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()


def _living() -> dict[int, int]:
    """Return the parent of each process that has not ended."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(stat.parent.name)] = int(parent)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="lists processes by /proc")
@pytest.mark.skipif(usable_cores() < 2, reason="workers divide the cores")
@pytest.mark.parametrize("is_loading", [True, False], ids=["loading", "translating"])
def test_killed_command_leaves_no_worker(
    is_loading: bool, trained: Path, expected: list[str], sources: list[str]
) -> None:
    words = ("-m", trained, "--workers", 2, "--threads", 1)
    process = start_command("translate", *words, cwd=trained, stdin=PIPE)
    assert process.stdin is not None
    process.stdin.write(sources[0] + "\n")
    process.stdin.flush()
    if not is_loading:
        assert _read_line(process) == expected[0] + "\n"
    limit = time.monotonic() + 60
    while not (workers := {one for one, parent in _living().items() if parent == process.pid}):
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.kill()
    process.communicate()
    while left := workers & set(_living()):
        assert time.monotonic() < limit, left
        time.sleep(0.01)


@pytest.mark.slow
def test_closed_output_pipe_is_no_error(
    trained: Path, expected: list[str], sources: list[str]
) -> None:
    process = start_command("translate", "-m", trained, "-b", 1, cwd=trained, stdin=PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(sources[0] + "\n")
    process.stdin.flush()
    assert _read_line(process) == expected[0] + "\n"
    process.stdout.close()
    process.stdin.write("\n".join(sources) + "\n")
    process.stdin.flush()  # and stays open
    assert process.wait() == 0
    assert process.stderr.read() == ""
    process.stdin.close()
    process.stderr.close()


@pytest.mark.slow
def test_head_of_the_output_ends_the_command(
    trained: Path, expected: list[str], sources: list[str], tmp_path: Path
) -> None:
    (tmp_path / "long.de").write_text("\n".join(sources * 100) + "\n", encoding="utf-8")
    options = ["-b", 1, "--max-length", 20, "--threads", 1]
    process = start_command("translate", "-m", trained, "long.de", *options, cwd=tmp_path)
    assert process.stdout is not None and process.stderr is not None
    head = run(["head", "-n", "1"], stdin=process.stdout, capture_output=True, check=True)
    process.stdout.close()
    assert head.stdout.decode() == expected[0] + "\n"
    assert (process.wait(), process.stderr.read()) == (0, "")
    process.stderr.close()
