"""Systems under measurement: processes that receive tasks as lines of JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.results import Row, interleaved, unmeasured
from nmt.errors import UserError
from workers.ids import Sizes

BENCHMARKS = Path(__file__).resolve().parents[1]
PEERS = ("joeynmt", "eole", "marian", "ctranslate2")
ENGINES = ("ctranslate2",)
"""Peers that only translate, by a Transformer of this toolkit."""
TRANSFORMERS = ("marian", *ENGINES)
"""Peers in the measure of Transformers."""
WITHOUT_BF16 = ("marian",)
"""Peers that do not train in bf16."""


@dataclass(frozen=True)
class Contender:
    """A system in a number format.

    Attributes:
        system: nmt, or one of PEERS
        dtype: fp32, bf16, or int8 for translation
        python: an interpreter that has the system installed
    """

    system: str
    dtype: str = "fp32"
    python: str = sys.executable

    @property
    def name(self) -> str:
        """Return the name for tables."""
        return f"{self.system} {self.dtype}"


def parse_peer(text: str) -> Contender:
    """Parse a peer on the command line: `eole`, or `eole=/path/to/python`.

    Raises:
        UserError: the system has no worker, or the interpreter does not exist
    """
    system, _, python = text.partition("=")
    if system not in PEERS:
        raise UserError(f"--peer {text}: must be one of {', '.join(PEERS)}")
    if python and not Path(python).is_file():
        raise UserError(f"--peer {text}: {python} not found; give the Python that has {system}")
    return Contender(system, python=python or sys.executable)


class WorkerProcess:
    """A worker from its start to its end; also a context manager.

    Args:
        name: name for tables and messages
        command: starts the worker
        threads: thread count in the environment of the process
        log: file for everything that the worker prints
    """

    def __init__(self, name: str, command: Sequence[str], threads: int, log: Path) -> None:
        self.name, self.log = name, log
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), str(BENCHMARKS.parent)]),
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

    def request(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a task and return the answer.

        Raises:
            UserError: the task failed, or the process ended
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            message = last[0] if last else "no message"
            raise UserError(f"{self.name}: the process ended: {message}; see {self.log}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UserError(f"{self.name}: {do} failed: {answer['error']}; see {self.log}")
        return answer

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            if self._process.poll() is None:
                self._process.stdin.write('{"do": "quit"}\n')
        # Closing flushes the buffer, which fails again if the process is dead.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> "WorkerProcess":
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


@dataclass(frozen=True)
class Plan:
    """Parameters of a measurement.

    Attributes:
        sizes: sizes of the models
        ids: file that `workers.ids.Ids` reads
        threads: threads of every process
        device: device of every process
        warmup: updates (or sentences) before the first repetition
        repetitions: repetitions per contender, in turn
        updates: updates per repetition
        folder: directory of logs and weights
        clock: wall, or cpu to count CPU seconds of the processes
        peaks: FLOPs per second of matrix products by number format, for shares of them
    """

    sizes: Sizes
    ids: Path
    threads: int
    device: str
    warmup: int
    repetitions: int
    updates: int
    folder: Path
    clock: str = "wall"
    peaks: Mapping[str, float] = field(default_factory=dict)

    def share(self, dtype: str, flops: float) -> float | None:
        """Return the share of the peak of a number format that FLOPs per second are, if known."""
        return flops / self.peaks[dtype] if dtype in self.peaks else None


class WorkerPool:
    """Prepared workers of several contenders, by name; the first one is ours.

    A context manager that ends all processes. A contender that fails is left out from then on, and
    the others are measured; if ours fails, nothing is.

    Args:
        contenders: the systems to start
        plan: parameters of the measurement
        options: further options of the task `prepare`

    Attributes:
        workers: the processes by name
        info: their answers to `prepare`: parameters, versions, a note
        failed: reasons of the contenders that were left out
    """

    def __init__(
        self, contenders: list[Contender], plan: Plan, options: Mapping[str, Any] | None = None
    ) -> None:
        self.plan = plan
        self.contenders = {contender.name: contender for contender in contenders}
        self.workers: dict[str, WorkerProcess] = {}
        self.info: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self._first = contenders[0].name
        try:
            for contender in contenders:
                command = [contender.python, "-m", f"workers.{contender.system}_worker"]
                log = plan.folder / f"{contender.system}_{contender.dtype}.log"
                worker = WorkerProcess(contender.name, command, plan.threads, log)
                self.workers[contender.name] = worker
            prepared = self.ask_all(
                "prepare",
                lambda name: {
                    "sizes": asdict(plan.sizes),
                    "ids": str(plan.ids),
                    "dtype": self.contenders[name].dtype,
                    "threads": plan.threads,
                    "device": plan.device,
                    "clock": plan.clock,
                    **(options or {}),
                },
            )
            self.info.update(prepared)
        except BaseException:
            self.stop()
            raise

    def ask(self, name: str, do: str, **arguments: Any) -> dict[str, Any] | None:
        """Send a task to a worker; return its answer, or None if the contender is left out.

        Raises:
            UserError: our own worker failed
        """
        if name not in self.workers:
            return None
        try:
            return self.workers[name].request(do, **arguments)
        except UserError as error:
            if name == self._first:
                raise
            self.failed[name] = str(error)
            self.workers.pop(name).stop()
            return None

    def ask_all(
        self, do: str, arguments: Callable[[str], dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Send a task to every worker, with arguments by its name; return the answers by name."""
        answers = {name: self.ask(name, do, **arguments(name)) for name in list(self.workers)}
        return {name: answer for name, answer in answers.items() if answer is not None}

    def take_turns(
        self, do: str, arguments: Callable[[int], dict[str, Any]], repetitions: int
    ) -> dict[str, list[dict[str, Any]]]:
        """Send a task to all workers once per repetition; return the answers by contender.

        Args:
            do: the task
            arguments: its arguments by the number of the repetition
            repetitions: number of repetitions
        """

        def run(name: str) -> Callable[[int], dict[str, Any] | None]:
            return lambda number: self.ask(name, do, **arguments(number))

        answers = interleaved({name: run(name) for name in self.workers}, repetitions)
        return {name: answers[name] for name in self.workers}

    def unmeasured(self, measure: str) -> list[Row]:
        """Return the rows of the contenders that failed."""
        return [
            replace(unmeasured(measure, reason), contender=name)
            for name, reason in self.failed.items()
        ]

    def stop(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.stop()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def conditions(self, name: str) -> dict[str, Any]:
        """Return the conditions of a contender's values, for a row."""
        return {
            "dtype": self.contenders[name].dtype,
            "threads": self.plan.threads,
            "device": self.plan.device,
            **({} if self.plan.clock == "wall" else {"clock": self.plan.clock}),
            "parameters": f"{self.info[name]['parameters'] / 1e6:.1f} M",
        }
