"""Processes that translate beside this one, each with the model for itself."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nmt.errors import UserError

if TYPE_CHECKING:
    from nmt.data.workers import Worker
    from nmt.search.translation import Translation
    from nmt.search.translator import Translator

Job = Callable[["Translator", list[Any], range], list["Translation"]]
Work = Callable[[list[Any], range], list["Translation"]]


class Loading(NamedTuple):
    """What `Translator.load` is told; can be handed to another process."""

    models: tuple[Path, ...]
    checkpoint: str
    device: str
    precision: str
    threads: int | None

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Loading":
        """What the model options say; several workers have the cores divided among them."""
        threads = options.threads
        if options.workers > 1 and threads is None:
            from nmt.data.workers import usable_cores

            threads = max(1, usable_cores() // options.workers)
        models = tuple(options.model)
        return cls(models, options.checkpoint, options.device, options.precision, threads)

    def load(self) -> "Translator":
        """The translator."""
        from nmt.search.translator import Translator

        return Translator.load(
            *self.models,
            checkpoint=self.checkpoint,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
        )


@contextmanager
def other_workers(options: argparse.Namespace) -> Iterator[list["Worker"]]:
    """All workers but this process; they load their models while it goes on."""
    from nmt.data.workers import Worker

    with ExitStack() as started:
        others = []
        for _ in range(options.workers - 1):
            worker = Worker(partial(_work_there, Loading.of(options)), "--workers")
            others.append(started.enter_context(closing(worker)))
            worker.ask(None)
        yield others


def shared_work(translator: "Translator", others: Sequence["Worker"], job: Job) -> Work:
    """The job as a function of items and their numbers, of which each worker has every N-th.

    Raises:
        UserError: for several workers on a GPU, which one process fills
    """
    if others and translator.device.type != "cpu":
        raise UserError("--workers divides the cores of a CPU; leave it out on a GPU")
    for worker in others:
        worker.answer()
    count = 1 + len(others)

    def work(items: list[Any], numbers: range) -> list["Translation"]:
        asked = others[: len(items) - 1]
        for place, worker in enumerate(asked, 1):
            worker.ask((job, items[place::count], numbers[place::count]))
        results: list[Any] = [None] * len(items)
        results[::count] = job(translator, items[::count], numbers[::count])
        for place, worker in enumerate(asked, 1):
            results[place::count] = worker.answer()
        return results

    return work


def _work_there(loading: Loading, given: tuple[Job, list[Any], range] | None) -> Any:
    translator = _loaded(loading)
    if given is None:
        return None  # asked to be ready
    job, items, numbers = given
    return job(translator, items, numbers)


@cache
def _loaded(loading: Loading) -> "Translator":
    return loading.load()
