"""The worker processes of `--workers`, each with its own copy of the model."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nmt.errors import UserError

if TYPE_CHECKING:
    from nmt.parallel import Job, WorkerPool
    from nmt.search.translation import Translation
    from nmt.search.translator import Translator

    Work = Job[Translator, Translation]


class LoadArguments(NamedTuple):
    """The picklable arguments with which each worker process loads its translator."""

    models: tuple[Path, ...]
    checkpoint: str
    device: str
    precision: str
    threads: int | None

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> "LoadArguments":
        """Return the arguments of the model options; several workers divide the cores."""
        threads = options.threads
        if options.workers > 1 and threads is None:
            from nmt.parallel import usable_cores

            threads = max(1, usable_cores() // options.workers)
        models = tuple(options.model)
        return cls(models, options.checkpoint, options.device, options.precision, threads)

    def load(self) -> "Translator":
        """Configure this process and load the translator."""
        from nmt.cli.process import configure_process
        from nmt.search.translator import Translator

        configure_process(self.device, threads=self.threads)
        return Translator.load(
            *self.models,
            checkpoint=self.checkpoint,
            device=self.device,
            precision=self.precision,
        )


def make_pool(options: argparse.Namespace) -> "WorkerPool[Translator]":
    """Return the pool of all workers besides this process, which load their models meanwhile."""
    from nmt.parallel import WorkerPool

    create = partial(_load, LoadArguments.from_options(options))
    return WorkerPool(create, options.workers - 1, "--workers")


def apply_job(
    job: "Work", translator: "Translator", pool: "WorkerPool[Translator]"
) -> Callable[[list[Any], range], list["Translation"]]:
    """Return a job as a function of items and their indices, which the pool's processes share.

    Raises:
        UserError: there are several workers on a GPU, which a single process saturates
    """
    if len(pool) and translator.device.type != "cpu":
        raise UserError("--workers divides the cores of a CPU; leave it out on a GPU")
    pool.wait_until_ready()
    return partial(pool.map, job, translator)


def _load(arguments: LoadArguments) -> "Translator":
    return arguments.load()
