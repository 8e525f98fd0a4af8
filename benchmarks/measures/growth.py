"""How the time of a token grows: with the corpus, with the sentences, with the vocabulary.

Each curve should be flat: batches come from a corpus of any size alike, the recurrence takes a
step after another, and of a larger vocabulary only the output layer and its table know.
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
from nmt.data.token_corpus import FilterStats, TokenArrays, TokenCorpus
from nmt.data.vocabulary import SpecialTokens
from workers.ids import Sizes
from workers.nmt_worker import NmtWorker

MICROSECONDS = 1e6
TOKENS = 1024  # target tokens a batch, whatever the length of its sentences


@dataclass(frozen=True)
class Curve:
    """Microseconds a target token at each place of the x axis, by the name of the line."""

    title: str
    axis: str
    places: Sequence[int]
    lines: dict[str, list[float]]


def corpus_curve(pairs: Sequence[int], *, batches: int = 200) -> Curve:
    """Planning an epoch and making batches, by pairs in the corpus."""
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
    """Updates by target pieces a sentence; sources stay at 15 pieces and batches equally large."""
    found = []
    for length in lengths:
        worker = _worker(sizes, 2000, folder, length, TOKENS // (length + 1))
        found.append(_per_token(partial(worker.update, 0), _tokens(worker), repeat))
    return Curve("an update", "target pieces a sentence", lengths, {"an update": found})


def vocabulary_curve(pieces: Sequence[int], sizes: Sizes, folder: Path, repeat: int) -> Curve:
    """Updates by pieces of the vocabulary, whole, and up to what the output layer reads."""
    whole, inner = [], []
    for size in pieces:
        worker = _worker(sizes, size, folder, 15, TOKENS // 16)
        whole.append(_per_token(partial(worker.update, 0), _tokens(worker), repeat))
        inner.append(_per_token(partial(_inner, worker), _tokens(worker), repeat))
    lines = {"an update": whole, "without output layer and optimizer": inner}
    return Curve("an update", "pieces of the vocabulary", pieces, lines)


def _inner(worker: NmtWorker) -> None:
    """Forward and backward through all but the output layer; tables of pieces included."""
    worker.model.train()
    batch = collate(*worker.ids.batch(0), worker.special_tokens, worker.special_tokens)
    taught = worker.model(batch.source, batch.source_mask_bs, batch.target_in_bt)
    taught.output_btd.backward(torch.ones_like(taught.output_btd))
    worker.trainer.optimizer.zero_grad()


def _worker(sizes: Sizes, pieces: int, folder: Path, length: int, sentences: int) -> NmtWorker:
    path = folder / "growth.npz"
    random_ids(path, pieces, pairs=sentences, source=15, target=length, sentences=sentences)
    worker = NmtWorker()
    worker.prepare(vars(sizes), str(path), "fp32", torch.get_num_threads(), "cpu")
    return worker


def _tokens(worker: NmtWorker) -> int:
    return sum(len(target) + 1 for target in worker.ids.batch(0)[1])


def _per_token(run: Callable[[], object], tokens: int, repeat: int) -> float:
    """The median of `repeat` runs after one to warm up, in microseconds a token."""
    run()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return MICROSECONDS * median(seconds) / tokens


def growth_rows(curves: Sequence[Curve], threads: int) -> list[Row]:
    """One row a line; its figures are those at each place, in the places' order."""
    return [
        Row(
            f"{curve.title} by {curve.axis}",
            f"nmt: {name}",
            "µs a target token",
            values,
            {"dtype": "fp32", "threads": threads},
            note=f"at {', '.join(f'{place:,}' for place in curve.places)}: "
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
            axes.plot(curve.places, values, marker="o", label=name)
        axes.set_ylim(0, 1.1 * max(max(values) for values in curve.lines.values()))
        axes.set_xscale("log")
        axes.set_xticks(curve.places, [f"{place:,}" for place in curve.places])
        axes.minorticks_off()
        axes.set(xlabel=curve.axis, ylabel="µs per target token")
        axes.legend(frameon=False)
    figure.savefig(path, format="png", dpi=120)
