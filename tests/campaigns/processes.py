"""Commands as forked processes with limits, and the check that all their endings must pass."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaigns.file_events import Faults

ROOT = Path(__file__).parents[2]
SUCCESS, USER_ERROR, INTERRUPTED = 0, 2, 130
SECONDS, MEGABYTES = 60.0, 5000
LONGEST_LINE = 4000


@dataclass(frozen=True)
class Ended:
    """The end of a command.

    Attributes:
        line: the command line, for a shell
        code: exit code; negative for a signal
        out, err: standard output and standard error
        timed_out: whether the command was killed at its time limit
        left_processes: whether processes of the command outlived it
        megabytes: largest resident memory
    """

    line: str
    code: int
    out: bytes
    err: str
    timed_out: bool
    left_processes: bool
    megabytes: float

    def fault(self, codes: Sequence[int] = (SUCCESS, USER_ERROR)) -> str | None:
        """Return a description of what no command may do; None if this one has done nothing."""
        shown = f"\n  {self.line}\n  {self.err[-1500:]}"
        if self.timed_out:
            return f"does not end{shown}"
        if self.left_processes:
            return f"leaves processes behind{shown}"
        if "Traceback" in self.err or "Exception ignored" in self.err:
            return f"traceback{shown}"
        if self.code not in codes:
            return f"exit code {self.code}{shown}"
        if self.code == USER_ERROR and not self.complaints:
            return f"no error line{shown}"
        for line in self.complaints if self.code == USER_ERROR else []:
            if len(line) > LONGEST_LINE or line.rstrip().endswith(":"):
                return f"error line without text, or too long{shown}"
        return None

    @property
    def complaints(self) -> list[str]:
        """The error lines."""
        return [line for line in self.err.splitlines() if line.startswith("nmt-")]


class Commands:
    """Runs commands by a server process that forks one child per command."""

    def __init__(self, scratch: Path) -> None:
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._out, self._err = scratch / "stdout", scratch / "stderr"
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.server", str(requests), str(replies)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(requests, replies),
        )
        os.close(requests)
        os.close(replies)
        self._answers = os.fdopen(self._replies)

    def run(
        self,
        command: str,
        *arguments: object,
        cwd: Path,
        given: Path | bytes = b"",
        seconds: float = SECONDS,
        megabytes: int = MEGABYTES,
        free_megabytes: int | None = None,
        file_bytes: int | None = None,
        faults: Faults | None = None,
        signals: Sequence[tuple[float, int]] = (),
        environment: Mapping[str, str] | None = None,
        out: Path | None = None,
    ) -> Ended:
        """Run a command and wait for its end.

        Args:
            command: its name, such as nmt-train
            arguments: of the command line
            cwd: working directory
            given: standard input, or a file for it
            seconds: limit of the time
            megabytes: limit of the address space
            free_megabytes: limit of the addresses besides those of an idle command, instead
            file_bytes: limit of the size of every file that the command writes
            faults: what happens at a file event
            signals: signals by the time after the start
            environment: changed environment variables
            out: file for standard output
        """
        words = [str(argument) for argument in arguments]
        if isinstance(given, bytes):
            stdin = self._out.with_name("stdin")
            stdin.write_bytes(given)
        else:
            stdin = given
        for file in (self._out, self._err):
            file.unlink(missing_ok=True)
        request: dict[str, Any] = {
            "command": command,
            "arguments": words,
            "cwd": str(cwd),
            "stdin": str(stdin),
            "stdout": str(out or self._out),
            "stderr": str(self._err),
            "seconds": seconds,
            "megabytes": megabytes,
            "free_megabytes": free_megabytes,
            "file_bytes": file_bytes,
            "faults": faults and faults.to_json(),
            "signals": list(signals),
            "environment": dict(environment or {}),
        }
        os.write(self._requests, (json.dumps(request) + "\n").encode())
        reply = json.loads(self._answers.readline())
        return Ended(
            f"cd {cwd} && {shlex.join([command, *words])}",
            reply["code"],
            self._out.read_bytes() if self._out.exists() else b"",
            self._err.read_text(encoding="utf-8", errors="replace") if self._err.exists() else "",
            reply["timed_out"],
            reply["left_processes"],
            reply["megabytes"],
        )

    def close(self) -> None:
        """End the server."""
        os.close(self._requests)
        self._server.wait(30)
        self._answers.close()
