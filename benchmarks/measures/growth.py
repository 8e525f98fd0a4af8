"""Time per target token by corpus size, sentence length and vocabulary size.

Each curve should be flat: batches do not depend on the size of the corpus, the recurrence costs the
same at every step, and only the output layer and the embeddings depend on the vocabulary.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.results import Row
from harness.text import random_ids
from nmt.data.batch import collate
from nmt.data.batch_plan import plan_epoch
from nmt.data.loader import make_batch
from nmt.data.special_tokens import SpecialTokens
from nmt.data.token_corpus import FilterStats, TokenArrays, TokenCorpus
from workers.ids import Sizes
from workers.nmt_worker import NmtWorker

MICROSECONDS = 1e6
TOKENS = 1024  # target tokens per batch, for every sentence length


@dataclass(frozen=True)
class Curve:
    """Lines of a plot.

    Attributes:
        title: the measured work
        axis: label of the x axis
        x: positions on the x axis
        lines: microseconds per target token at each position, by name
    """

    title: str
    axis: str
    x: Sequence[int]
    lines: dict[str, list[float]]


def corpus_curve(pairs: Sequence[int], *, batches: int = 200) -> Curve:
    """Measure the planning of an epoch and the assembly of batches by the size of the corpus."""
    planning, making = [], []
    for count in pairs:
        corpus = _corpus(count)
        start = time.perf_counter()
        plan = plan_epoch(
            corpus.source_lengths,
            corpus.target_lengths,
            batch_tokens=4000,
            batch_sentences=64,
            seed=1,
            epoch=0,
        )
        planned = time.perf_counter() - start
        specials = SpecialTokens(0, 1, 2)
        start = time.perf_counter()
        tokens = 0
        for rows in plan[:batches]:
            tokens += make_batch(corpus, rows, (specials, specials)).target_tokens
        made = time.perf_counter() - start
        planning.append(MICROSECONDS * planned / corpus.arrays.target_offsets[-1])
        making.append(MICROSECONDS * made / tokens)
    lines = {"planning an epoch": planning, "making batches": making}
    return Curve("data", "pairs in the corpus", pairs, lines)


def _corpus(pairs: int) -> TokenCorpus:
    generator = np.random.default_rng(1)
    offsets = [np.concatenate([[0], np.cumsum(generator.poisson(12, pairs) + 1)]) for _ in range(2)]
    tokens = [generator.integers(4, 8000, side[-1], dtype=np.uint16) for side in offsets]
    arrays = TokenArrays(tokens[0], offsets[0], tokens[1], offsets[1], np.arange(pairs))
    return TokenCorpus(arrays, FilterStats(pairs, pairs), "", "")


def length_curve(lengths: Sequence[int], sizes: Sizes, folder: Path, repeat: int) -> Curve:
    """Measure updates by target tokens per sentence; sources have 15 tokens."""
    found = []
    for length in lengths:
        worker = _worker(sizes, 2000, folder, length, TOKENS // (length + 1))
        found.append(_per_token(partial(worker.update, 0), _tokens(worker), repeat))
    return Curve("an update", "target subwords per sentence", lengths, {"an update": found})


def vocabulary_curve(vocabularies: Sequence[int], sizes: Sizes, folder: Path, repeat: int) -> Curve:
    """Measure updates by the size of the vocabulary, with and without the output layer."""
    whole, inner = [], []
    for size in vocabularies:
        worker = _worker(sizes, size, folder, 15, TOKENS // 16)
        whole.append(_per_token(partial(worker.update, 0), _tokens(worker), repeat))
        inner.append(_per_token(partial(_inner, worker), _tokens(worker), repeat))
    lines = {"an update": whole, "without output layer and optimizer": inner}
    return Curve("an update", "subwords in the vocabulary", vocabularies, lines)


def _inner(worker: NmtWorker) -> None:
    """Run forward and backward passes without the output layer, with the embeddings."""
    worker.model.train()
    batch = collate(*worker.ids.batch(0), worker.special_tokens, worker.special_tokens)
    output = worker.model(batch.source, batch.source_mask_bs, batch.target_in_bt)
    output.output_btd.backward(torch.ones_like(output.output_btd))
    worker.trainer.optimizer.zero_grad()


def _worker(sizes: Sizes, size: int, folder: Path, length: int, sentences: int) -> NmtWorker:
    path = folder / "growth.npz"
    random_ids(path, size, pairs=sentences, source=15, target=length, sentences=sentences)
    worker = NmtWorker()
    worker.prepare(vars(sizes), str(path), "fp32", torch.get_num_threads(), "cpu")
    return worker


def _tokens(worker: NmtWorker) -> int:
    return sum(len(target) + 1 for target in worker.ids.batch(0)[1])


def _per_token(run: Callable[[], object], tokens: int, repeat: int) -> float:
    """Return the median of `repeat` runs after a warm-up, in microseconds per token."""
    run()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return MICROSECONDS * median(seconds) / tokens


def growth_rows(curves: Sequence[Curve], threads: int) -> list[Row]:
    """Return one row per line, with the values at each position."""
    return [
        Row(
            f"{curve.title} by {curve.axis}",
            f"nmt: {name}",
            "µs per target token",
            values,
            {"dtype": "fp32", "threads": threads},
            note=f"at {', '.join(f'{x:,}' for x in curve.x)}: "
            + ", ".join(f"{value:.3g}" for value in values),
        )
        for curve in curves
        for name, values in curve.lines.items()
    ]


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw one panel per curve, each with its own y axis from zero."""
    figure = Figure(figsize=(5.2 * len(curves), 4.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for curve, axes in zip(curves, figure.subplots(1, len(curves), squeeze=False)[0], strict=True):
        for name, values in curve.lines.items():
            axes.plot(curve.x, values, marker="o", label=name)
        axes.set_ylim(0, 1.1 * max(max(values) for values in curve.lines.values()))
        axes.set_xscale("log")
        axes.set_xticks(curve.x, [f"{x:,}" for x in curve.x])
        axes.minorticks_off()
        axes.set(xlabel=curve.axis, ylabel="µs per target token")
        axes.legend(frameon=False)
    figure.savefig(path, format="png", dpi=120)
