"""The lock of a run: one process trains it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from nmt.errors import UserError
from nmt.storage.lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from nmt.storage.lock import RunLock
lock = RunLock()
lock.acquire(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_second_owner_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with RunLock() as first:
        first.acquire(file)
        owner = f"process {os.getpid()} on host {socket.gethostname()}"
        with RunLock() as second:
            for _ in range(2):  # a refused attempt does not erase the name
                with pytest.raises(UserError, match=f"is being trained by {owner}; wait"):
                    second.acquire(file)
    with RunLock() as third:
        third.acquire(file)
    assert file.read_text() == ""


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "held\n"
        with RunLock() as lock:
            with pytest.raises(UserError, match=f"trained by process {process.pid} on host"):
                lock.acquire(file)
            process.send_signal(signal.SIGKILL)
            process.wait()
            lock.acquire(file)
            assert str(os.getpid()) in file.read_text()


@pytest.mark.parametrize("error", [OSError(95, "not supported"), NotImplementedError("no flock")])
def test_file_system_without_locks_is_a_warning(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log_text: pytest.LogCaptureFixture,
) -> None:
    def refuse(lock: filelock.FileLock) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with RunLock() as lock:
        lock.acquire(tmp_path / ".lock")
    assert "this file system has no locks" in log_text.text


def test_unwritable_directory_is_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: filelock.FileLock) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(UserError, match=r"\.lock: cannot be written: Permission denied"):
        RunLock().acquire(tmp_path / ".lock")
