"""What search hands out: one target sentence that a model may say."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Hypothesis(NamedTuple):
    """One target sentence.

    Attributes:
        tokens: pieces in order, the end mark last if it was reached
        score: log_prob after the penalties for length and coverage
        log_prob: log p(tokens | source), the natural logarithm
        token_log_probs: one a token; they sum to log_prob
        weights_ts: where the model looked, one row a token, real source positions only, on the CPU;
            None when the model does not attend
        finished: False when the longest allowed length came before the end mark
    """

    tokens: list[int]
    score: float
    log_prob: float
    token_log_probs: list[float]
    weights_ts: Float[Tensor, "t s"] | None
    finished: bool
