"""The measures of `benchmarks/benchmark.py`, each a list of rows."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from harness.contender import Kind
from harness.results import Row
from harness.text import Text
from measures import gpu
from measures.growth import corpus_curve, draw, growth_rows, length_curve, vocabulary_curve
from measures.memory import memory_rows
from measures.one_sentence import cold_row, short_run, warm_rows
from measures.profile import profiles
from measures.sharded_corpus import shard_rows
from measures.training import Field, Plan, training_rows
from measures.translation import Work, teach, translation_rows
from nmt.data.vocabulary import Vocabulary

PIECES, SENTENCES = 8000, 64


@dataclass(frozen=True)
class Amount:
    """How much of everything is done; `--quick` does less."""

    warmup: int = 3
    repetitions: int = 7
    updates: int = 5
    translated: int = 1000
    starts: int = 5
    run_updates: int = 400
    calls: int = 30
    memory_updates: int = 5
    corpora: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    lengths: tuple[int, ...] = (7, 15, 31, 63, 127)
    vocabularies: tuple[int, ...] = (2_000, 8_000, 32_000)
    repeat: int = 5
    sharded: int = 5_000_000
    sharded_updates: int = 100


QUICK = Amount(
    warmup=1,
    repetitions=3,
    updates=1,
    translated=128,
    starts=2,
    run_updates=15,
    calls=8,
    memory_updates=1,
    corpora=(10_000, 100_000),
    lengths=(7, 31, 63),
    vocabularies=(2_000, 16_000),
    repeat=2,
    sharded=50_000,
    sharded_updates=3,
)


@dataclass(frozen=True)
class Bench:
    """What all measures share."""

    arguments: argparse.Namespace
    amount: Amount
    text: Text
    vocabulary: Vocabulary
    plan: Plan

    @property
    def peers(self) -> list[Kind]:
        """Those that the user named."""
        found: list[Kind] = self.arguments.peer
        return found


def _training(bench: Bench) -> Iterator[Row]:
    kinds = [Kind("nmt"), *bench.peers]
    with Field(kinds, bench.plan) as field:
        yield from training_rows(field)
    halves = [replace(kind, dtype="bf16") for kind in kinds]
    # The first contender is compared with all others: our bf16 with theirs, and with their fp32.
    with Field([*halves, *bench.peers], bench.plan) as field:
        yield from training_rows(field)


def _translation(bench: Bench) -> Iterator[Row]:
    updates = bench.arguments.train_first
    length = None if updates else 12
    work = Work(bench.vocabulary, bench.text.references, bench.amount.translated, length=length)
    plan = replace(bench.plan, warmup=SENTENCES, repetitions=max(2, bench.plan.repetitions // 2))
    trained = f"after {updates} updates" if updates else "untrained, all of 12 subwords"
    kinds = [Kind("nmt"), *bench.peers]
    if bench.plan.device == "cpu":
        kinds.append(Kind("nmt", "int8"))
    with Field(kinds, plan) as field:
        teach(field, updates, bench.plan.folder)
        yield from translation_rows(field, work, trained=trained)


def _one_sentence(bench: Bench) -> Iterator[Row]:
    arguments, amount, text = bench.arguments, bench.amount, bench.text
    folder, threads = bench.plan.folder, bench.plan.threads
    vocabulary = folder / "vocabulary.model"
    bench.vocabulary.save(vocabulary)
    run = arguments.model or short_run(
        folder, text.train, text.languages, vocabulary, amount.run_updates
    )
    sentence = next((s for s in text.test if len(s.split()) == 15), text.test[0])
    yield cold_row(run, sentence, threads=threads, repetitions=amount.starts)
    yield from warm_rows(run, text.test, threads=threads, repetitions=amount.calls)


def _profile(bench: Bench) -> Iterator[Row]:
    yield from profiles(bench.plan)


def _memory(bench: Bench) -> Iterator[Row]:
    yield from memory_rows(Kind("nmt"), bench.plan, PIECES, updates=bench.amount.memory_updates)


def _growth(bench: Bench) -> Iterator[Row]:
    amount, plan = bench.amount, bench.plan
    curves = []
    for curve in (
        partial(corpus_curve, amount.corpora),
        partial(length_curve, amount.lengths, plan.sizes, plan.folder, amount.repeat),
        partial(vocabulary_curve, amount.vocabularies, plan.sizes, plan.folder, amount.repeat),
    ):
        curves.append(curve())
        yield from growth_rows(curves[-1:], plan.threads)
    draw(curves, bench.arguments.output.with_suffix(".png"))


def _shards(bench: Bench) -> Iterator[Row]:
    text, folder = bench.text, bench.plan.folder
    vocabulary = folder / "vocabulary.model"
    bench.vocabulary.save(vocabulary)
    pairs, updates = bench.amount.sharded, bench.amount.sharded_updates
    yield from shard_rows(
        text.train, text.languages, vocabulary, folder, pairs=pairs, updates=updates
    )


def _gpu(bench: Bench) -> Iterator[Row]:
    yield from gpu.rows(bench.plan)


MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "training": _training,
    "translation": _translation,
    "one-sentence": _one_sentence,
    "memory": _memory,
    "profile": _profile,
    "growth": _growth,
    "shards": _shards,
    "gpu": _gpu,
}
"""Every measure by its name on the command line."""
