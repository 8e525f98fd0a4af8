"""The measures of `benchmark.py` by name."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from harness.results import Row
from harness.text import Text
from harness.worker_process import (
    ENGINES,
    TRANSFORMERS,
    WITHOUT_BF16,
    Contender,
    Plan,
    WorkerPool,
)
from measures.growth import corpus_curve, draw, growth_rows, length_curve, vocabulary_curve
from measures.memory import memory_rows
from measures.one_sentence import cold_row, short_run, warm_rows
from measures.profile import profiles
from measures.sharded_corpus import shard_rows
from measures.training import training_rows
from measures.translation import Work, load_weights, translation_rows
from nmt.data.vocabulary import Vocabulary
from workers.ids import Sizes

PIECES, SENTENCES = 8000, 64


@dataclass(frozen=True)
class Amount:
    """Amounts of work; `--quick` reduces them.

    Attributes:
        warmup: updates before the first repetition, in which the memory of a process grows to what
            its batches need: until then every large tensor takes new pages from the system
        repetitions: repetitions of training; half as many of translation
        updates: updates per repetition
        translated: sentences per repetition of translation
        transformed: the same by Transformers
        transformers: widths of Transformers, and of their feed-forward layers
        starts: cold starts
        run_updates: updates of the model for one-sentence
        calls: warm calls
        memory_updates: updates before the peak memory is read
        corpora: sizes of the corpora, in pairs
        lengths: target subwords per sentence
        vocabularies: sizes of the vocabulary
        repeat: repetitions per point of a growth curve
        sharded: pairs of the corpus in shards
        sharded_updates: updates of a training on it
    """

    warmup: int = 60
    repetitions: int = 7
    updates: int = 5
    translated: int = 1000
    transformed: int = 256
    transformers: Mapping[int, int] = field(default_factory=lambda: {128: 256, 512: 2048})
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
    transformed=64,
    transformers={128: 256},
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
    """Arguments of all measures."""

    arguments: argparse.Namespace
    amount: Amount
    text: Text
    vocabulary: Vocabulary
    plan: Plan

    @property
    def peers(self) -> list[Contender]:
        """Return the toolkits given by `--peer`, without engines that only translate."""
        return [peer for peer in self.arguments.peer if peer.system not in ENGINES]

    @property
    def transformers(self) -> list[Contender]:
        """Return the toolkits and engines given by `--peer` whose Transformers are compared."""
        return [peer for peer in self.arguments.peer if peer.system in TRANSFORMERS]


def _training(bench: Bench) -> Iterator[Row]:
    contenders = [Contender("nmt"), *bench.peers]
    with WorkerPool(contenders, bench.plan) as pool:
        yield from training_rows(pool)
    halves = [
        replace(contender, dtype="bf16")
        for contender in contenders
        if contender.system not in WITHOUT_BF16
    ]
    # The first contender is compared with all others: our bf16 with theirs, and with their fp32.
    with WorkerPool([*halves, *bench.peers], bench.plan) as pool:
        yield from training_rows(pool)


def _translation(bench: Bench) -> Iterator[Row]:
    updates = bench.arguments.train_first
    length = None if updates else 12
    work = Work(bench.vocabulary, bench.text.references, bench.amount.translated, length=length)
    plan = replace(bench.plan, warmup=SENTENCES, repetitions=max(2, bench.plan.repetitions // 2))
    trained = f"after {updates} updates" if updates else "untrained, all of 12 subwords"
    contenders = [Contender("nmt"), *bench.peers]
    if bench.plan.device == "cpu":
        contenders.append(Contender("nmt", "int8"))
    with WorkerPool(contenders, plan) as pool:
        load_weights(pool, updates, bench.plan.folder)
        yield from translation_rows(pool, work, trained=trained)


def _transformer(bench: Bench) -> Iterator[Row]:
    vocabulary = bench.plan.folder / "vocabulary.model"
    bench.vocabulary.save(vocabulary)
    options = {"model": "transformer", "vocabulary": str(vocabulary)}
    repetitions = max(2, bench.plan.repetitions // 2)
    contenders = [Contender("nmt"), *bench.transformers]
    contenders += [replace(one, dtype="int8") for one in contenders]
    for width, feed_forward in bench.amount.transformers.items():
        sizes = Sizes(embedding=width, layers=4, readout=feed_forward)
        # The FLOPs behind the shares of the peak are those of another model.
        plan = replace(bench.plan, sizes=sizes, warmup=SENTENCES, repetitions=repetitions, peaks={})
        count, name = bench.amount.transformed, f"translation, Transformer {width}"
        work = Work(bench.vocabulary, bench.text.references, count, length=12, name=name)
        with WorkerPool(contenders, plan, options) as pool:
            yield from translation_rows(pool, work, trained="untrained, all of 12 subwords")


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
    yield from memory_rows(
        Contender("nmt"), bench.plan, PIECES, updates=bench.amount.memory_updates
    )


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


MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "training": _training,
    "translation": _translation,
    "transformer": _transformer,
    "one-sentence": _one_sentence,
    "memory": _memory,
    "profile": _profile,
    "growth": _growth,
    "shards": _shards,
}
"""Every measure by its name on the command line."""
