"""What one step of a beam search found."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from nmt.search.candidates import Candidates


class Found(NamedTuple):
    """All that a decision about a sentence needs to know of a step.

    Attributes:
        sentences: which sentence each row is
        candidates: the best continuations
        columns_bk: which candidate of the step before each hypothesis was that they continue
        scores_bc: what each candidate is worth if it goes no further
        next_columns_bk: which candidate each hypothesis is that goes on
        next_log_prob_bk: log p of each hypothesis that goes on, best first
        weights_bks: where each hypothesis looked in this step
    """

    sentences: list[int]
    candidates: Candidates
    columns_bk: Int[Tensor, "b k"]
    scores_bc: Float[Tensor, "b c"]
    next_columns_bk: Int[Tensor, "b k"]
    next_log_prob_bk: Float[Tensor, "b k"]
    weights_bks: Float[Tensor, "b k s"] | None
