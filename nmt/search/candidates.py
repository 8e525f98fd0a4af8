"""The best continuations of each sentence's hypotheses, and those that are forbidden."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

WIDEST = 128  # pieces a block of the vocabulary


class Candidates(NamedTuple):
    """The c best continuations of a sentence, best first.

    Equal ones stand in the order of hypothesis, then of vocabulary; what is no number stands before
    all numbers. `parent_bc` is the hypothesis that a candidate continues.
    """

    log_prob_bc: Float[Tensor, "b c"]
    parent_bc: Int[Tensor, "b c"]
    token_bc: Int[Tensor, "b c"]
    token_log_prob_bc: Float[Tensor, "b c"]


def best_candidates(
    log_prob_bk: Float[Tensor, "b k"], log_probs_nv: Float[Tensor, "n v"], count: int
) -> Candidates:
    """The `count` best of k*v continuations a sentence, or all when there are fewer."""
    vocabulary = log_probs_nv.size(-1)
    log_probs_bkv = log_probs_nv.reshape(*log_prob_bk.shape, vocabulary)
    top = by_choosing if log_probs_nv.device.type == "cpu" else by_sorting
    log_prob_bc, choice_bc = top(log_prob_bk, log_probs_bkv, count)
    chosen_bc = log_probs_bkv.flatten(1).gather(1, choice_bc)
    return Candidates(log_prob_bc, choice_bc // vocabulary, choice_bc % vocabulary, chosen_bc)


def by_choosing(
    log_prob_bk: Float[Tensor, "b k"], log_probs_bkv: Float[Tensor, "b k v"], count: int
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"]]:
    """Sums and places of the `count` largest of k*v, equal ones in order of place.

    `topk` leaves open which of equal values it takes, so one more is asked for: only where that
    equals the last one taken is the choice made again, by hand. That needs to be known, for which a
    GPU would have to be waited for.
    """
    best, places = _largest(log_prob_bk, log_probs_bkv, count + 1, Tensor.topk)
    places, order = places.sort(dim=1)
    best, order = best.gather(1, order).sort(dim=1, descending=True, stable=True)
    places = places.gather(1, order)
    if best.size(1) > count:
        tied_b = (best[:, count - 1] == best[:, count]) & best[:, count].isfinite()
        for row in tied_b.nonzero().flatten().tolist():
            totals_x = (log_prob_bk[row][:, None] + log_probs_bkv[row]).flatten()
            places[row, :count] = _first_of_equals(totals_x, float(best[row, count]), count)
    return best[:, :count], places[:, :count]


def by_sorting(
    log_prob_bk: Float[Tensor, "b k"], log_probs_bkv: Float[Tensor, "b k v"], count: int
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"]]:
    """As `by_choosing`, without a look at any number: for a GPU, which sorts in parallel.

    Of equal blocks those first in place are taken, and their equal values are sorted in that order.
    A value that is passed over so has `count` others before it.
    """
    return _largest(log_prob_bk, log_probs_bkv, count, _first_of_a_sort)


def _largest(
    log_prob_bk: Float[Tensor, "b k"],
    log_probs_bkv: Float[Tensor, "b k v"],
    count: int,
    top: Callable[[Tensor, int], tuple[Tensor, Tensor]],
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"]]:
    """Sums and places of the `count` largest of k*v; `top` chooses among values as among blocks.

    They stand in the `count` blocks with the largest maxima, and only there are they looked for:
    the others are read once, which is far less work than choosing among them.
    """
    width = _block_width(log_probs_bkv.size(-1))
    blocks_bkxw = log_probs_bkv.unflatten(-1, (-1, width))  # type: ignore[no-untyped-call]
    maxima_bx = (blocks_bkxw.amax(dim=-1) + log_prob_bk[:, :, None]).flatten(1)
    blocks_bc = top(maxima_bx, min(count, maxima_bx.size(1)))[1].sort(dim=1).values
    chosen_bcw = blocks_bkxw.flatten(1, 2).gather(1, blocks_bc[:, :, None].expand(-1, -1, width))
    parent_bc = blocks_bc // blocks_bkxw.size(2)
    totals_bx = (chosen_bcw + log_prob_bk.gather(1, parent_bc)[:, :, None]).flatten(1)
    best_bc, at_bc = top(totals_bx, min(count, totals_bx.size(1)))
    return best_bc, blocks_bc.gather(1, at_bc // width) * width + at_bc % width


def _first_of_a_sort(values_bx: Tensor, count: int) -> tuple[Tensor, Tensor]:
    best_bx, at_bx = values_bx.sort(dim=1, descending=True, stable=True)
    return best_bx[:, :count], at_bx[:, :count]


@cache
def _block_width(vocabulary: int) -> int:
    """The largest divisor up to `WIDEST`."""
    return next(width for width in range(WIDEST, 0, -1) if vocabulary % width == 0)


def _first_of_equals(totals_x: Tensor, threshold: float, count: int) -> Tensor:
    """Places of the `count` largest, all at least `threshold`, equal ones in order of place."""
    places = (totals_x >= threshold).nonzero().flatten()
    order = totals_x[places].sort(descending=True, stable=True).indices
    return places[order[:count]]


def forbid_repeats(
    log_probs_nv: Float[Tensor, "n v"], prefixes_nt: Int[Tensor, "n t"], size: int
) -> Float[Tensor, "n v"]:
    """Probability 0 for every token that would say an n-gram of `size` pieces a second time."""
    if prefixes_nt.size(1) < size:
        return log_probs_nv
    said_ntg = prefixes_nt.unfold(1, size, 1)
    last_ng = prefixes_nt[:, prefixes_nt.size(1) - size + 1 :]
    again_nt = (said_ntg[:, :, :-1] == last_ng[:, None]).all(-1)
    # A piece that is forbidden at one place and not at another is forbidden: so the least counts.
    allowed_nt = torch.where(again_nt, float("-inf"), 0.0).to(log_probs_nv)
    return log_probs_nv + torch.zeros_like(log_probs_nv).scatter_reduce(
        1, said_ntg[:, :, -1], allowed_nt, "amin"
    )
