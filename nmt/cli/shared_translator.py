"""A translator that shares its work with other processes, for nmt-translate and nmt-eval."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nmt.cli.backend_options import shows_details
from nmt.cli.process import configure_process
from nmt.cli.streams import complain
from nmt.config.search_options import SearchOptions
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError, explained_out_of_memory
from nmt.parallel import WorkerPool, usable_cores
from nmt.search.source_line import SourceLine
from nmt.search.translation import Translation
from nmt.search.translator import Translator


class SharedTranslator:
    """A translator in this process, and the same one in each process of a pool.

    Args:
        translator: translator of this process
        pool: processes that load the same models

    Raises:
        UserError: if a process cannot load the models, or if the pool is to share a GPU
    """

    def __init__(self, translator: Translator, pool: WorkerPool[Translator]) -> None:
        if len(pool) and translator.device.type != "cpu":
            raise UserError("--workers: divides the cores of a CPU; remove it on a GPU")
        # Errors of the workers are the same as those of this process, which come first.
        pool.wait_until_ready()
        self.translator, self._pool = translator, pool

    def translate_lines(
        self, lines: Sequence[SourceLine], options: SearchOptions, file: str
    ) -> list[Translation]:
        """Translate lines as `Translator.translate_lines` does, every process a share of them."""
        job = partial(_translate_share, options=options, file=file)
        return self._pool.map(job, self.translator, list(lines))


@contextmanager
def open_translator(name: str, arguments: argparse.Namespace) -> Iterator[SharedTranslator]:
    """Load the models that the command line names, in this process and in its workers.

    Args:
        name: name of the command, for its warnings
        arguments: parsed by a parser with the options of `add_model_options`

    Raises:
        UserError: if a model cannot be loaded
    """
    cores = usable_cores()
    if arguments.workers > cores:
        # More would only take memory; the translations do not depend on the number of workers.
        complain(f"{name}: --workers {arguments.workers}: reduced to {cores}, the usable cores")
        arguments.workers = cores
    models = ModelArguments.parse(arguments)
    # The workers load their models while this process loads its own.
    with WorkerPool(partial(_load, models), arguments.workers - 1, "--workers") as pool:
        translator = models.load()
        # Every rank loads the same checkpoints, and would repeat the warnings.
        if RankInfo.from_environment().is_first:
            for warning in translator.warnings:
                complain(f"{name}: {warning}")
        yield SharedTranslator(translator, pool)


class ModelArguments(NamedTuple):
    """Arguments of `Translator.load`, which can be sent to another process."""

    models: tuple[Path, ...]
    checkpoint: str
    device: str
    precision: str | None
    recurrence: str
    fast: bool
    threads: int | None
    trust_plugins: bool
    rerank: tuple[Path, ...] = ()
    rerank_weight: float = 1.0
    backend: str = "torch"
    details: bool = True

    @classmethod
    def parse(cls, arguments: argparse.Namespace) -> "ModelArguments":
        """Return the arguments of the command line; workers divide the cores by default."""
        threads = arguments.threads
        if arguments.workers > 1 and threads is None:
            # More threads than cores would displace each other.
            threads = max(1, usable_cores() // arguments.workers)
        if arguments.rerank_weight is not None and not arguments.rerank:
            raise UserError("--rerank-weight: has no effect without --rerank; remove it")
        models = tuple(arguments.model)
        return cls(
            models,
            arguments.checkpoint,
            arguments.device,
            arguments.precision,
            arguments.recurrence,
            arguments.fast,
            threads,
            arguments.trust_plugins,
            tuple(arguments.rerank),
            1.0 if arguments.rerank_weight is None else arguments.rerank_weight,
            arguments.backend,
            shows_details(arguments),
        )

    def load(self) -> Translator:
        """Configure this process and load the models."""
        configure_process(self.device, threads=self.threads)
        with explained_out_of_memory("use a smaller model, or lower --workers"):
            return Translator.load(
                *self.models,
                checkpoint=self.checkpoint,
                device=self.device,
                precision=self.precision,
                recurrence=self.recurrence,
                fast=self.fast,
                trust_plugins=self.trust_plugins,
                rerank=self.rerank,
                rerank_weight=self.rerank_weight,
                backend=self.backend,
                details=self.details,
            )


def _load(models: ModelArguments) -> Translator:
    return models.load()


def _translate_share(
    translator: Translator, lines: list[SourceLine], *, options: SearchOptions, file: str
) -> list[Translation]:
    with explained_out_of_memory("lower --batch-tokens, --beam-size or --workers"):
        return translator.translate_lines(lines, options, file=file)
