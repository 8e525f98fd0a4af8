"""Measure the windows of predictive local attention on a text, as a table.

    python scripts/local_windows.py runs/dates_local_p --test data/dates/test

p_t is the center of the window for target token t, in source positions from 0, and D its half
width. Targets are known (teacher forcing) and include </s>. The table answers two questions:

- Do windows move forward? The mean of p_{t+1} - p_t, and the share of steps that do not move
  backward. The model does not enforce it; if the target begins with the end of the source, as with
  the year of most dates, a good window jumps.
- Is every weight at |s - p_t| > D exactly 0, and which share of the source is inside a window?
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from experiments import Pair
from nmt.comparison.tables import markdown
from nmt.data.batch import Batch, collate
from nmt.data.corpus import find_corpus
from nmt.data.vocabularies.saved import load_vocabularies
from nmt.data.vocabulary import Vocabulary
from nmt.inference.saved_model import load_saved_model
from nmt.model.attention.mechanisms.local_p import PredictiveLocalAttention
from nmt.storage.run_dir import RunDir

BATCH = 64  # sentences


class Windows(NamedTuple):
    """Statistics of windows over real target and source positions.

    Attributes:
        moves: p_{t+1} - p_t of neighboring target positions
        outside: weights outside the windows
        inside: weights inside the windows
    """

    moves: Float[Tensor, " moves"]
    outside: Float[Tensor, " outside"]
    inside: Float[Tensor, " inside"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the model over the text and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="run directory of a model with local_p"
    )
    parser.add_argument("--test", type=Path, required=True, help="prefix of the text")
    parser.add_argument(
        "--checkpoint", default="best", help="best, last, average or a step (default: best)"
    )
    options = parser.parse_args(arguments)
    saved = load_saved_model(options.run, options.checkpoint)
    source, target = load_vocabularies(RunDir(options.run))
    mechanism = getattr(saved.model.decoder, "attention", None)
    if source is None or not isinstance(mechanism, PredictiveLocalAttention):
        raise SystemExit(f"{options.run}: requires a model of text with attention local_p")
    data = saved.experiment.data
    pairs = list(find_corpus(options.test, data.source, data.target).pairs())
    batches = _batches(pairs, source, target)
    found = zip(*(read(saved.model, mechanism, batch) for batch in batches), strict=True)
    print(table(Windows(*map(torch.cat, found)), len(pairs), mechanism.window))


def _batches(pairs: Sequence[Pair], source: Vocabulary, target: Vocabulary) -> Iterator[Batch]:
    for start in range(0, len(pairs), BATCH):
        sources, targets = zip(*pairs[start : start + BATCH], strict=True)
        source_ids = [np.array(ids) for ids in source.encode_batch(list(sources))]
        target_ids = [np.array(ids) for ids in target.encode_batch(list(targets))]
        yield collate(source_ids, target_ids, source.special_tokens, target.special_tokens)


def read(model: nn.Module, mechanism: PredictiveLocalAttention, batch: Batch) -> Windows:
    """Record the windows of a batch under teacher forcing."""
    centers, weights = [], []

    def record(module: nn.Module, given: tuple[Any, ...], result: tuple[Any, ...]) -> None:
        query_bqd, memory, _ = given
        centers.append(mechanism.center(query_bqd, memory.mask_bs))
        weights.append(result[0].weights_bqs)

    hook = mechanism.register_forward_hook(record)
    with torch.inference_mode():
        model(batch.source, batch.source_mask_bs, batch.target_in_bt)
    hook.remove()
    real_bts = batch.target_mask_bt[:, :, None] & batch.source_mask_bs[:, None]
    return measure(torch.cat(centers, 1), torch.cat(weights, 1), real_bts, mechanism.window)


def measure(
    center_bt: Float[Tensor, "b t"],
    weights_bts: Float[Tensor, "b t s"],
    real_bts: Bool[Tensor, "b t s"],
    window: int,
) -> Windows:
    """Return moves and weights of the windows at real positions."""
    distance_bts = (torch.arange(weights_bts.size(2)) - center_bt[:, :, None]).abs()
    outside_bts = distance_bts > window
    moves = center_bt.diff(dim=1)[real_bts[:, 1:, 0]]
    outside, inside = weights_bts[real_bts & outside_bts], weights_bts[real_bts & ~outside_bts]
    return Windows(moves, outside, inside)


def table(found: Windows, sentences: int, window: int) -> str:
    """Format one row per answer."""
    moves, outside, inside = found
    covered = len(inside) / (len(inside) + len(outside))
    measured = {
        "sentences": f"{sentences:,}",
        "moves p_{t+1} - p_t": f"{len(moves):,}",
        "mean move, in source positions": f"{float(moves.mean()):+.3f}",
        "moves that are not backward": f"{float((moves >= 0).double().mean()):.1%}",
        f"source positions within {window} of the center": f"{covered:.1%}",
        "weights outside of windows": f"{len(outside):,}",
        "of which not exactly 0": f"{int(outside.count_nonzero()):,}",
    }
    return markdown(["windows", "measured"], measured.items())


if __name__ == "__main__":
    main()
