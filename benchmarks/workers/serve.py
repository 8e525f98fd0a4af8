"""What the workers of `benchmarks/benchmark.py` share: how they are asked, and how they are timed.

A worker is a process that is asked in lines of JSON on its standard input and answers each with
one on its standard output:

    {"do": "prepare", "sizes": {...}, "ids": FILE, "dtype": "fp32", "threads": 2, "device": "cpu"}
    {"do": "train", "first": 0, "updates": 5}      -> seconds, target_tokens, loss
    {"do": "translate", "beam": 5, ...}            -> seconds, sentences, target_pieces, ids
    {"do": "save", "path": FILE}, {"do": "load", "path": FILE}, {"do": "memory"}, {"do": "quit"}

What fails is answered by {"error": one line}. This file imports numpy and torch alone, so that it
runs beside any system.
"""

import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, TextIO

from workers.ids import Array, Ids, Sizes

Answer = dict[str, Any]


class Worker(ABC):
    """One system; a subclass says how it updates and how it translates.

    Attributes:
        packages: whose versions are told
        tasks: what may be asked
        ids, sizes: of the task, from `prepare` on
    """

    packages: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("prepare", "train", "translate", "save", "load", "memory")
    ids: Ids
    sizes: Sizes

    @abstractmethod
    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        """Make model, loss and optimizer; number of parameters, and what is not as elsewhere."""

    @abstractmethod
    def update(self, number: int) -> float:
        """One update on batch `number`; the sum of its smoothed loss in nats."""

    def updates(self, numbers: Iterable[int]) -> float:
        """One update after another; the sum of their losses."""
        return sum(self.update(number) for number in numbers)

    @abstractmethod
    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        """The best translation of each of a batch, without marks.

        Args:
            length: so many pieces for each, the end mark held back; None to end by themselves
        """

    @abstractmethod
    def parameters(self) -> Any:
        """The module whose `state_dict` holds the weights."""

    def answer(self, asked: dict[str, Any]) -> Answer:
        """Do what one line asks."""
        do = asked.pop("do")
        if do not in self.tasks:
            raise ValueError(f"'{do}' is none of {', '.join(self.tasks)}")
        result: Answer = getattr(self, do)(**asked)
        return result

    def prepare(
        self, sizes: dict[str, Any], ids: str, dtype: str, threads: int, device: str, **options: Any
    ) -> Answer:
        """Read the ids and build the model."""
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self.ids, self.sizes, self.device = Ids(ids), Sizes(**sizes), device
        parameters, note = self.build(dtype, device, options)
        versions = {name: version(name) for name in (*self.packages, "torch")}
        return {"parameters": parameters, "note": note, "versions": versions}

    def train(self, first: int, updates: int) -> Answer:
        """Updates on batches from the one numbered `first` on; targets count their end marks."""
        numbers = range(first, first + updates)
        tokens = sum(len(target) + 1 for n in numbers for target in self.ids.batch(n)[1])
        self._wait()
        start = time.perf_counter()
        loss = self.updates(numbers)
        self._wait()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "target_tokens": tokens, "loss": loss / max(tokens, 1)}

    def translate(
        self, beam: int, sentences: int, first: int, count: int, length: int | None
    ) -> Answer:
        """Translate `count` test sentences from number `first` on, so many a batch, sorted."""
        rows = list(range(first, min(first + count, len(self.ids.test))))
        rows.sort(key=lambda row: len(self.ids.test[row]))
        self._wait()
        start = time.perf_counter()
        found: dict[int, list[int]] = {}
        for begin in range(0, len(rows), sentences):
            some = rows[begin : begin + sentences]
            best = self.search([self.ids.test[row] for row in some], beam, length)
            found.update(zip(some, best, strict=True))
        self._wait()
        seconds = time.perf_counter() - start
        translations = [found[row] for row in sorted(found)]
        pieces = sum(len(translation) for translation in translations)
        return {
            "seconds": seconds,
            "sentences": len(rows),
            "target_pieces": pieces,
            "ids": translations,
        }

    def save(self, path: str) -> Answer:
        """Keep the weights."""
        import torch

        torch.save(self.parameters().state_dict(), path)
        return {}

    def load(self, path: str) -> Answer:
        """Take weights that `save` has kept."""
        import torch

        self.parameters().load_state_dict(torch.load(path, weights_only=True))
        return {}

    def memory(self) -> Answer:
        """The process's largest memory so far in bytes; on a GPU torch's too."""
        import torch

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes on Linux
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        device = torch.cuda.max_memory_allocated() if self.device == "cuda" else None
        return {"peak": peak, "device_peak": device}

    def _wait(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


def serve(worker: Worker, asked: TextIO, answers: TextIO) -> None:
    """Answer line by line until told to quit, or until nobody asks any more."""
    for line in asked:
        task = json.loads(line)
        if task["do"] == "quit":
            return
        try:
            answer = worker.answer(task)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main(worker: Worker) -> None:
    """Serve on standard input and output; what a system prints itself goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(worker, sys.stdin, answers)
