"""Confidence from attention (Rikters and Fishel 2017), and words that attention leaves out.

For the weights a_ts of T target and S source tokens, `</s>` included if the model attends to it:

    coverage deviation penalty      CDP    = -1/S Σ_s log(1 + (1 - Σ_t a_ts)²)
    absentmindedness of the output  AP_out =  1/T Σ_t Σ_s p_ts log p_ts,  p_ts = a_ts / Σ_s a_ts
    absentmindedness of the input   AP_in  =  1/S Σ_s Σ_t q_ts log q_ts,  q_ts = a_ts / Σ_t a_ts

All three are at most 0. The first one is low if source tokens are attended to much more or less
than once, the others if attention is spread over many tokens. Their sum X is shown in percent as
100 exp(-0.05 X²), the scale of SoftAlignments, the program of the same authors.
"""

from math import exp
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

SCALE = 0.05


class AttentionConfidence(NamedTuple):
    """Penalties of one translation; 0 is the best value of each.

    Attributes:
        coverage: CDP, the coverage deviation penalty
        output: AP_out, minus the mean entropy of the target tokens' weights
        input: AP_in, minus the mean entropy of the source tokens' weights
    """

    coverage: float
    output: float
    input: float

    @property
    def percent(self) -> float:
        """Return the confidence from 0 to 100."""
        return 100 * exp(-SCALE * sum(self) ** 2)


def attention_confidence(weights_ts: Float[Tensor, "t s"]) -> AttentionConfidence:
    """Compute the penalties of Rikters and Fishel 2017 in float64."""
    weights_ts = weights_ts.double()
    coverage_s = weights_ts.sum(dim=0)
    return AttentionConfidence(
        -float(torch.log1p((1 - coverage_s).square()).mean()),
        -_mean_entropy(weights_ts),
        -_mean_entropy(weights_ts.T),
    )


def _mean_entropy(weights_rx: Float[Tensor, "r x"]) -> float:
    """Return the mean entropy of the rows, each normalized; 0 for a row without weight."""
    sums_r1 = weights_rx.sum(dim=1, keepdim=True)
    probs_rx = weights_rx / sums_r1.clamp(min=torch.finfo(torch.float64).tiny)
    return -float(torch.xlogy(probs_rx, probs_rx).sum(dim=1).mean())
