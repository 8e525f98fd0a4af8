"""A shim that records the file events of a command, or makes the n-th one fail, kill or interrupt.

An event is an open, write, fsync, rename, link, removal or new directory below one directory.
Python's audit hooks report all but write and fsync, including those of C code; both of these are
replaced in Python. The one file format that a library in another language writes, safetensors, is
one event of its own, before and after which the file is empty or complete. Checkpoints are written
by a thread, so its events and those of training may change places.
"""

import builtins
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

# Audited event -> positions of the path and of the directory that it is relative to. A rename and a
# link are events of the new name.
AUDITED = {
    "os.rename": (1, 3),
    "os.remove": (0, 1),
    "os.rmdir": (0, 1),
    "os.mkdir": (0, 2),
    "os.link": (1, 3),
    "os.symlink": (1, 2),
    "os.truncate": (0, None),
    "os.chmod": (0, 2),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SIGNALS = {"kill": [signal.SIGKILL], "terminate": [signal.SIGTERM], "interrupt": [signal.SIGINT]}
SIGNALS["interrupt twice"] = [signal.SIGINT, signal.SIGINT]

Open: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Faults:
    """What happens at a file event.

    Attributes:
        root: directory whose events count
        record: file that receives one line per event; empty to record nothing
        at: number of the event, from 0; negative for none
        action: kill, terminate, interrupt, interrupt twice, or the name of an error number
        repeat: whether an error also occurs at all later events that write
    """

    root: str
    record: str = ""
    at: int = -1
    action: str = "kill"
    repeat: bool = False

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Faults":
        """Return the object whose `to_json` gave these values."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


class _Shim:
    def __init__(self, faults: Faults) -> None:
        self._faults, self._count = faults, 0
        self._lock, self._thread = threading.Lock(), threading.local()
        self._process = os.getpid()
        self._root = os.path.realpath(faults.root) + os.sep

    def event(self, kind: str, path: object) -> None:
        """Count an event below the root, and act if it is the planned one."""
        is_nested = getattr(self._thread, "is_busy", False)
        if is_nested or os.getpid() != self._process or not self._is_below(path):
            return
        self._thread.is_busy = True
        try:
            with self._lock:
                number, self._count = self._count, self._count + 1
                if self._faults.record:
                    handle = os.open(self._faults.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                    os.write(handle, f"{kind} {os.fspath(path)}\n".encode())  # type: ignore[call-overload]
                    os.close(handle)
            later = self._faults.repeat and 0 <= self._faults.at < number
            if number == self._faults.at or (later and kind in ("open", "write", "os.mkdir")):
                self._act(path)
        finally:
            self._thread.is_busy = False

    def _act(self, path: object) -> None:
        if self._faults.action in SIGNALS:
            for one in SIGNALS[self._faults.action]:
                os.kill(os.getpid(), one)
            return
        number = getattr(errno, self._faults.action)
        raise OSError(number, os.strerror(number), os.fspath(path))  # type: ignore[call-overload]

    def _is_below(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        text = os.path.abspath(os.fsdecode(path)) + os.sep
        return text.startswith(self._root)


def install(faults: Faults) -> None:
    """Let the file events of this process pass through a shim."""
    shim = _Shim(faults)

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open":
            path, _, flags = arguments
            if flags & WRITING:
                shim.event("open", path)
        elif name in AUDITED:
            path, directory = AUDITED[name]
            shim.event(name, _absolute(arguments[path], directory and arguments[directory]))

    sys.addaudithook(audit)
    _replace_fsync(shim)
    _replace_open(shim)
    _replace_safetensors(shim)


def _absolute(path: Any, directory: int | None) -> Any:
    if directory is None or directory < 0 or not isinstance(path, str | bytes):
        return path
    return os.path.join(os.readlink(f"/proc/self/fd/{directory}"), os.fsdecode(path))


def _replace_fsync(shim: _Shim) -> None:
    fsync = os.fsync

    def watched(file: Any) -> None:
        handle = file if isinstance(file, int) else file.fileno()
        shim.event("fsync", os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    os.fsync = watched  # type: ignore[assignment]


def _replace_open(shim: _Shim) -> None:
    class WatchedFile(io.FileIO):
        def write(self, data: Any) -> int:
            shim.event("write", self.name)
            return super().write(data)

    ordinary: Open = builtins.open

    def watched(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        text = "b" not in mode
        if isinstance(file, int) or not set(mode) & set("wax+") or "+" in mode or buffering == 0:
            return ordinary(file, mode, buffering, *more, **named)
        raw = WatchedFile(file, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedWriter(raw)
        if not text:
            return buffered
        names = ("encoding", "errors", "newline")
        options = dict(zip(names, more, strict=False)) | {n: named[n] for n in names if n in named}
        return io.TextIOWrapper(buffered, **options, line_buffering=buffering == 1)

    builtins.open = io.open = watched


def _replace_safetensors(shim: _Shim) -> None:
    import safetensors.torch

    library: Any = safetensors.torch
    serialize = library.serialize_file

    def watched(tensors: Any, filename: Any, **named: Any) -> None:
        shim.event("open", filename)
        try:
            shim.event("write", filename)
        except OSError as error:
            # The library reports failures by an exception of its own.
            with open(filename, "wb") as file:
                file.write(b"\0" * 64)
            raise safetensors.SafetensorError(f"Error while serializing: {error}") from error
        serialize(tensors, filename, **named)

    library.serialize_file = watched
