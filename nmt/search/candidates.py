"""The best continuations of each sentence's hypotheses, and those that are forbidden."""

from functools import cache
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from nmt.search.step import check_numbers

WIDEST = 128  # pieces a block of the vocabulary


class Candidates(NamedTuple):
    """The c best continuations of a sentence, best first; on the CPU.

    Equal ones stand in the order of hypothesis, then of vocabulary. `parent_bc` is the hypothesis
    that a candidate continues.
    """

    log_prob_bc: Float[Tensor, "b c"]
    parent_bc: Int[Tensor, "b c"]
    token_bc: Int[Tensor, "b c"]
    token_log_prob_bc: Float[Tensor, "b c"]


def best_candidates(
    log_prob_bk: Float[Tensor, "b k"], log_probs_nv: Float[Tensor, "n v"], count: int
) -> Candidates:
    """The `count` best of k*v continuations a sentence, or all when there are fewer.

    Raises:
        UserError: when the model's log-probabilities are not numbers
    """
    vocabulary = log_probs_nv.size(-1)
    log_probs_bkv = log_probs_nv.reshape(*log_prob_bk.shape, vocabulary)
    log_prob_bc, choice_bc = _top(log_prob_bk.to(log_probs_nv.device), log_probs_bkv, count)
    chosen_bc = log_probs_bkv.flatten(1).gather(1, choice_bc.to(log_probs_nv.device)).cpu()
    return Candidates(log_prob_bc, choice_bc // vocabulary, choice_bc % vocabulary, chosen_bc)


def _top(
    log_prob_bk: Float[Tensor, "b k"], log_probs_bkv: Float[Tensor, "b k v"], count: int
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"]]:
    """Sums and places of the `count` largest, equal ones in order of place; on the CPU.

    `topk` leaves open which of equal values it takes, so one more is asked for: only where that
    equals the last one taken is the choice made again, by hand.
    """
    best, places = (part.cpu() for part in _largest(log_prob_bk, log_probs_bkv, count + 1))
    check_numbers(best[:, 0])  # topk takes NaN for the largest
    places, order = places.sort(dim=1)
    best, order = best.gather(1, order).sort(dim=1, descending=True, stable=True)
    places = places.gather(1, order)
    if best.size(1) > count:
        tied_b = (best[:, count - 1] == best[:, count]) & best[:, count].isfinite()
        for row in tied_b.nonzero().flatten().tolist():
            totals_x = (log_prob_bk[row][:, None] + log_probs_bkv[row]).flatten()
            places[row, :count] = _first_of_equals(totals_x, float(best[row, count]), count)
    return best[:, :count], places[:, :count]


def _largest(
    log_prob_bk: Float[Tensor, "b k"], log_probs_bkv: Float[Tensor, "b k v"], count: int
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"]]:
    """Sums and places of the `count` largest of k*v; of equal ones at the end any.

    They stand in the `count` blocks with the largest maxima, and only there are they looked for:
    the others are read once, which is far less work than choosing among them.
    """
    width = _block_width(log_probs_bkv.size(-1))
    blocks_bkxw = log_probs_bkv.unflatten(-1, (-1, width))  # type: ignore[no-untyped-call]
    maxima_bx = (blocks_bkxw.amax(dim=-1) + log_prob_bk[:, :, None]).flatten(1)
    blocks_bc = maxima_bx.topk(min(count, maxima_bx.size(1))).indices
    chosen_bcw = blocks_bkxw.flatten(1, 2).gather(1, blocks_bc[:, :, None].expand(-1, -1, width))
    parent_bc = blocks_bc // blocks_bkxw.size(2)
    totals_bx = (chosen_bcw + log_prob_bk.gather(1, parent_bc)[:, :, None]).flatten(1)
    best_bc, at_bc = totals_bx.topk(min(count, totals_bx.size(1)))
    return best_bc, blocks_bc.gather(1, at_bc // width) * width + at_bc % width


@cache
def _block_width(vocabulary: int) -> int:
    """The largest divisor up to `WIDEST`."""
    return next(width for width in range(WIDEST, 0, -1) if vocabulary % width == 0)


def _first_of_equals(totals_x: Tensor, threshold: float, count: int) -> Tensor:
    """Places of the `count` largest, all at least `threshold`, equal ones in order of place."""
    places = (totals_x >= threshold).nonzero().flatten()
    order = totals_x[places].sort(descending=True, stable=True).indices
    return places[order[:count]].cpu()


def forbid_repeats(
    log_probs_nv: Float[Tensor, "n v"], prefixes_nt: Int[Tensor, "n t"], size: int
) -> Float[Tensor, "n v"]:
    """Probability 0 for every token that would say an n-gram of `size` pieces a second time."""
    if prefixes_nt.size(1) < size:
        return log_probs_nv
    prefixes_nt = prefixes_nt.to(log_probs_nv.device)
    said_ntg = prefixes_nt.unfold(1, size, 1)
    last_ng = prefixes_nt[:, prefixes_nt.size(1) - size + 1 :]
    again_nt = (said_ntg[:, :, :-1] == last_ng[:, None]).all(-1)
    rows, positions = again_nt.nonzero(as_tuple=True)
    forbidden = said_ntg[rows, positions, -1]
    never = log_probs_nv.new_tensor(float("-inf"))
    return log_probs_nv.index_put((rows, forbidden), never)
