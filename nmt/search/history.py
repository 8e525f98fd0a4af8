"""Back-pointers of a search: what each step chose, and the walk back through them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.search.found import Found
from nmt.search.step import only_real


class _Link(NamedTuple):
    """The candidates of one step, as lists: they are walked one by one.

    `links` says which candidate of the step before a candidate continues; `parents` says it in
    hypotheses, which is how the weights' rows are counted.
    """

    row_of_sentence: dict[int, int]
    tokens: list[list[int]]
    log_probs: list[list[float]]
    parents: list[list[int]]
    links: list[list[int]]
    weights_bks: Tensor | None


class Path(NamedTuple):
    """One hypothesis, walked."""

    tokens: list[int]
    token_log_probs: list[float]
    weights_ts: Float[Tensor, "t s"] | None


class History:
    """One link a step. A hypothesis is named by sentence, length, and column of its last candidate.

    Args:
        mask_bs: real source positions; the others are cut off from what `walk` gives
    """

    def __init__(self, mask_bs: Bool[Tensor, "b #s"]) -> None:
        self._mask_bs = mask_bs
        self._links: list[_Link] = []

    def __len__(self) -> int:
        """Steps taken, which is the length of every live hypothesis."""
        return len(self._links)

    def append(self, found: Found) -> None:
        """Add a step."""
        candidates = found.candidates
        self._links.append(
            _Link(
                {sentence: row for row, sentence in enumerate(found.sentences)},
                candidates.token_bc.tolist(),
                candidates.token_log_prob_bc.tolist(),
                candidates.parent_bc.tolist(),
                found.columns_bk.gather(1, candidates.parent_bc).tolist(),
                found.weights_bks,
            )
        )

    def walk(self, sentence: int, length: int, column: int) -> Path:
        """The hypothesis whose last token is candidate `column` of step `length`."""
        tokens, log_probs, weights = [], [], []
        for link in reversed(self._links[:length]):
            row = link.row_of_sentence[sentence]
            tokens.append(link.tokens[row][column])
            log_probs.append(link.log_probs[row][column])
            if link.weights_bks is not None:
                weights.append(link.weights_bks[row, link.parents[row][column]])
            column = link.links[row][column]
        mask_s = self._mask_bs[sentence]
        weights_ts = only_real(torch.stack(weights[::-1]), mask_s) if weights else None
        return Path(tokens[::-1], log_probs[::-1], weights_ts)
