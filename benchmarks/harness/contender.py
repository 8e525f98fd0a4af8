"""A system under measurement: a worker process that is asked in lines of JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from nmt.errors import UserError
from workers.ids import Sizes

SCRIPTS = Path(__file__).resolve().parents[1]
PEERS = ("joeynmt", "eole")


@dataclass(frozen=True)
class Kind:
    """Which system, in which number format, run by which Python.

    Attributes:
        system: nmt, joeynmt or eole
        dtype: fp32, bf16, or int8 for translating
        python: an interpreter that has the system installed
    """

    system: str
    dtype: str = "fp32"
    python: str = sys.executable

    @property
    def name(self) -> str:
        """As a table says it."""
        return f"{self.system} {self.dtype}"


def peer(text: str) -> Kind:
    """A peer as a user gives it: `eole`, or `eole=/path/to/python`.

    Raises:
        UserError: when there is no worker for it
    """
    system, _, python = text.partition("=")
    if system not in PEERS:
        raise UserError(f"--peer {text}: no worker for '{system}'; known: {', '.join(PEERS)}")
    if python and not Path(python).is_file():
        raise UserError(f"--peer {text}: there is no {python}; name the peer's python")
    return Kind(system, python=python or sys.executable)


class Contender:
    """A worker process, from its start to its end.

    Args:
        name: as tables say it
        command: what starts the worker
        threads: of the process, also told to it by its environment
        log: where it may write what it likes
    """

    def __init__(self, name: str, command: Sequence[str], threads: int, log: Path) -> None:
        self.name, self.log = name, log
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(SCRIPTS.parent)]),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            )

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """The answer to one line.

        Raises:
            UserError: when the worker fails or dies
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, **what}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            said = last[0] if last else "nothing"
            raise UserError(f"{self.name}: its process ended, saying: {said}; see {self.log}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UserError(f"{self.name}: {do} failed: {answer['error']}; see {self.log}")
        return answer

    def stop(self) -> None:
        """Tell it to quit, and wait for it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            if self._process.poll() is None:
                self._process.stdin.write('{"do": "quit"}\n')
        # What a dead worker did not read stands in the buffer still, and only closing drops it.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> "Contender":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        self.stop()


def start(kind: Kind, threads: int, folder: Path) -> Contender:
    """The worker of a system, not yet prepared."""
    command = [kind.python, "-m", f"workers.{kind.system}_worker"]
    return Contender(kind.name, command, threads, folder / f"{kind.system}_{kind.dtype}.log")


def prepared(
    kind: Kind, sizes: Sizes, ids: Path, *, threads: int, device: str, folder: Path, **options: Any
) -> tuple[Contender, dict[str, Any]]:
    """A worker with its model built, and what it says of itself: parameters, versions, a note."""
    contender = start(kind, threads, folder)
    try:
        told = contender.ask(
            "prepare",
            sizes=asdict(sizes),
            ids=str(ids),
            dtype=kind.dtype,
            threads=threads,
            device=device,
            **options,
        )
    except BaseException:
        contender.stop()
        raise
    return contender, told
