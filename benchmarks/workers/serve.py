"""Protocol and timing of all workers.

A worker is a process that receives tasks as lines of JSON on its standard input and answers each
with one line on its standard output:

    {"do": "prepare", "sizes": {...}, "ids": FILE, "dtype": "fp32", "threads": 2, "device": "cpu",
     "clock": "wall"}
    {"do": "train", "first": 0, "updates": 5}      -> seconds, target_tokens, loss
    {"do": "translate", "beam": 5, ...}            -> seconds, sentences, target_tokens, ids
    {"do": "save", "path": FILE}, {"do": "load", "path": FILE}, {"do": "memory"}, {"do": "quit"}

A failed task is answered by {"error": one line}. This file imports numpy and torch only, so that
it works in the environment of any system.
"""

import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from workers.ids import Array, Ids, Sizes

Answer = dict[str, Any]


class Worker(ABC):
    """A system under measurement.

    Attributes:
        packages: packages whose versions are reported
        tasks: names of the methods that are tasks
        ids: the text, after `prepare`
        sizes: sizes of the model, after `prepare`
        device: cpu or cuda, after `prepare`
        uses_cpu_time: whether `clock` counts CPU seconds, after `prepare`
    """

    packages: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("prepare", "train", "translate", "save", "load", "memory")
    ids: Ids
    sizes: Sizes
    uses_cpu_time: bool = False

    @abstractmethod
    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        """Build model, loss and optimizer; return the number of parameters and a note."""

    @abstractmethod
    def update(self, number: int) -> float:
        """Update on batch `number` and return the sum of its smoothed loss in nats."""

    def updates(self, numbers: Iterable[int]) -> float:
        """Update on several batches and return the sum of their losses."""
        return sum(self.update(number) for number in numbers)

    @abstractmethod
    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        """Return the best translation of each sentence of a batch, without special tokens.

        Args:
            sentences: source sentences
            beam: beam size
            length: tokens of each translation, with </s> suppressed; None for normal search
        """

    @abstractmethod
    def parameters(self) -> Any:
        """Return the module whose `state_dict` contains the weights."""

    def answer(self, task: dict[str, Any]) -> Answer:
        """Run one task."""
        do = task.pop("do")
        if do not in self.tasks:
            raise ValueError(f"'{do}': must be one of {', '.join(self.tasks)}")
        result: Answer = getattr(self, do)(**task)
        return result

    def prepare(
        self,
        sizes: dict[str, Any],
        ids: str,
        dtype: str,
        threads: int,
        device: str,
        clock: str = "wall",
        **options: Any,
    ) -> Answer:
        """Read the ids and build the model."""
        self.ids, self.sizes, self.device = Ids(ids), Sizes(**sizes), device
        self.uses_cpu_time = clock == "cpu"
        self.set_threads(threads)
        parameters, note = self.build(dtype, device, options)
        versions = {name: version(package) for name, package in self.versioned().items()}
        return {"parameters": parameters, "note": note, "versions": versions}

    def set_threads(self, threads: int) -> None:
        """Set the number of threads, and the seed."""
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(1)

    def versioned(self) -> dict[str, str]:
        """Return the packages whose versions are reported, by the name in the report."""
        return {name: name for name in (*self.packages, "torch")}

    def train(self, first: int, updates: int) -> Answer:
        """Update on batches from number `first` on; targets count with </s>."""
        numbers = range(first, first + updates)
        tokens = sum(len(target) + 1 for n in numbers for target in self.ids.batch(n)[1])
        self._synchronize()
        start = self.clock()
        loss = self.updates(numbers)
        self._synchronize()
        seconds = self.clock() - start
        return {"seconds": seconds, "target_tokens": tokens, "loss": loss / max(tokens, 1)}

    def translate(
        self, beam: int, sentences: int, first: int, count: int, length: int | None
    ) -> Answer:
        """Translate `count` test sentences from number `first` on, in batches sorted by length."""
        rows = list(range(first, min(first + count, len(self.ids.test))))
        rows.sort(key=lambda row: len(self.ids.test[row]))
        self._synchronize()
        start = self.clock()
        found: dict[int, list[int]] = {}
        for begin in range(0, len(rows), sentences):
            some = rows[begin : begin + sentences]
            best = self.search([self.ids.test[row] for row in some], beam, length)
            found.update(zip(some, best, strict=True))
        self._synchronize()
        seconds = self.clock() - start
        translations = [found[row] for row in sorted(found)]
        tokens = sum(len(translation) for translation in translations)
        return {
            "seconds": seconds,
            "sentences": len(rows),
            "target_tokens": tokens,
            "ids": translations,
        }

    def clock(self, process: int | None = None) -> float:
        """Return the time in seconds, or the CPU time of this process, or of another one.

        Args:
            process: number of another process, on Linux
        """
        if not self.uses_cpu_time:
            return time.perf_counter()
        if process is None:
            return time.process_time()
        # The name of the program, in parentheses, may contain spaces.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def save(self, path: str) -> Answer:
        """Save the weights."""
        import torch

        torch.save(self.parameters().state_dict(), path)
        return {}

    def load(self, path: str) -> Answer:
        """Load weights that `save` has written."""
        import torch

        self.parameters().load_state_dict(torch.load(path, weights_only=True))
        return {}

    def memory(self) -> Answer:
        """Return the peak memory of the process in bytes; on a GPU that of torch too."""
        import torch

        unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kibibytes on Linux
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        device = torch.cuda.max_memory_allocated() if self.device == "cuda" else None
        return {"peak": peak, "device_peak": device}

    def _synchronize(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


def serve(worker: Worker, tasks: TextIO, answers: TextIO) -> None:
    """Answer line by line until the task `quit` or the end of the input."""
    for line in tasks:
        task = json.loads(line)
        if task["do"] == "quit":
            return
        try:
            answer = worker.answer(task)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main(worker: Worker) -> None:
    """Serve on standard input and output; redirect prints of the system to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(worker, sys.stdin, answers)
