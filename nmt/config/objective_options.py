"""Options of training objectives besides the cross entropy."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nmt.component_spec import Positive, PositiveFloat, Probability
from nmt.config.sections import Section


class GuidedAlignmentConfig(Section):
    """Cross entropy of attention with data.alignments, added to the loss. Chen et al. 2016."""

    weight: PositiveFloat = 0.1
    """factor of this addend, which is summed over the aligned target tokens"""
    until: Positive | None = None
    """last update with this addend (default: the last one of training)"""


class RDropConfig(Section):
    """Divergence of two passes with different dropout, added to the loss. Liang et al. 2021."""

    weight: PositiveFloat = 5.0
    """factor α of the divergence, relative to the sum of the losses of both passes"""


class MinimumRiskConfig(Section):
    """Expected metric of sampled translations instead of cross entropy. Shen et al. 2016."""

    metric: Literal["bleu", "chrf"] = "bleu"
    """metric of a sentence, whose difference from 100 % is the risk; bleu is smoothed"""
    samples: Annotated[int, Field(ge=1, le=1000)] = 20
    """samples per sentence; its candidates are the distinct ones and the reference"""
    sharpness: PositiveFloat = 0.005
    """exponent α of the model's probabilities in the distribution of the candidates"""


# ε = 1/2 after 6,900 to 10,000 updates.
DEFAULT_CONSTANTS = {"inverse_sigmoid": 1000.0, "exponential": 0.9999, "linear": 20_000.0}


class ScheduledSamplingConfig(Section):
    """Predictions of the model as inputs of the decoder, in two passes. Bengio et al. 2015."""

    decay: Literal["inverse_sigmoid", "exponential", "linear"] = "inverse_sigmoid"
    """probability of a reference token after i updates: k / (k + exp(i / k)), k^i, or 1 - i / k"""
    k: PositiveFloat | None = None
    """constant k of the decay: at least 1, but below 1 for exponential (default: 1000 for
    inverse_sigmoid, 0.9999 for exponential, 20000 for linear)"""
    minimum: Probability = 0.0
    """lowest probability of a reference token"""

    @property
    def constant(self) -> float:
        """Return k, or its default."""
        return DEFAULT_CONSTANTS[self.decay] if self.k is None else self.k

    @model_validator(mode="after")
    def _check_constant(self) -> "ScheduledSamplingConfig":
        if (self.constant < 1) != (self.decay == "exponential"):
            bound = "below 1" if self.decay == "exponential" else "at least 1"
            raise ValueError(f"k must be {bound} with decay: {self.decay}, got {self.k}")
        return self


Objective = MinimumRiskConfig | ScheduledSamplingConfig
