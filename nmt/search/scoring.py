"""Scores of hypotheses: log-probability with a length penalty and a coverage penalty."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from nmt.component_spec import Exponent, NonNegativeFloat
from nmt.errors import UserError
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES

MIN_COVERAGE = 1e-4
"""Lower bound of a source position's coverage: without attention it costs 9.2 nats, not infinity.

Softmax weights underflow and local attention gives exact zeros. A hypothesis that missed one source
token must remain comparable with others.
"""


class LengthPenalty(ABC):
    """A function that makes the log-probabilities of hypotheses of different lengths comparable.

    For log_prob <= 0 it must not decrease with the length nor with the log-probability, because
    early stopping relies on the bound that follows from it.
    """

    @abstractmethod
    def __call__(
        self, log_prob: Float[Tensor, "..."], length: Num[Tensor, "..."] | int
    ) -> Float[Tensor, "..."]:
        """Return the score of hypotheses of `length` target tokens, `eos` included."""


@LENGTH_PENALTIES.register("none")
class NoLengthPenalty(LengthPenalty):
    """No length penalty: the log-probability itself, which favors short hypotheses."""

    def __call__(
        self, log_prob: Float[Tensor, "..."], length: Num[Tensor, "..."] | int
    ) -> Float[Tensor, "..."]:
        return log_prob


@LENGTH_PENALTIES.register("average")
class AverageLengthPenalty(LengthPenalty):
    """Average log-probability per token, log_prob / length**alpha. Jean et al. 2015.

    Args:
        alpha: exponent of the length; 0 for no normalization, 1 for the mean
    """

    def __init__(self, *, alpha: Exponent = 1.0) -> None:
        assert alpha >= 0
        self.alpha = alpha

    def __call__(
        self, log_prob: Float[Tensor, "..."], length: Num[Tensor, "..."] | int
    ) -> Float[Tensor, "..."]:
        return log_prob / length**self.alpha


@LENGTH_PENALTIES.register("gnmt")
class GnmtLengthPenalty(LengthPenalty):
    """GNMT length penalty, log_prob / ((5 + length) / 6)**alpha. Wu et al. 2016, equation 14.

    Args:
        alpha: exponent of the length; 0 for no normalization, 0.2 in the paper
    """

    def __init__(self, *, alpha: Exponent = 0.2) -> None:
        assert alpha >= 0
        self.alpha = alpha

    def __call__(
        self, log_prob: Float[Tensor, "..."], length: Num[Tensor, "..."] | int
    ) -> Float[Tensor, "..."]:
        # The constants of the paper: (5 + 1) / 6 leaves a single token unnormalized, and short
        # hypotheses are normalized less than by the mean.
        return log_prob / ((5 + length) / 6) ** self.alpha


class CoveragePenalty(ABC):
    """A term of at most 0 for source positions that received little attention.

    Attributes:
        needs_weights: whether it requires a model with attention
    """

    needs_weights: ClassVar[bool]

    @abstractmethod
    def __call__(
        self, coverage: Float[Tensor, "*rows #s"], mask: Bool[Tensor, "*#rows #s"]
    ) -> Float[Tensor, "*rows"]:
        """Return the penalty, from the attention weights summed over target positions."""


@COVERAGE_PENALTIES.register("none")
class NoCoveragePenalty(CoveragePenalty):
    """No coverage penalty."""

    needs_weights = False

    def __call__(
        self, coverage: Float[Tensor, "*rows #s"], mask: Bool[Tensor, "*#rows #s"]
    ) -> Float[Tensor, "*rows"]:
        return coverage.new_zeros(coverage.shape[:-1])


@COVERAGE_PENALTIES.register("gnmt")
class GnmtCoveragePenalty(CoveragePenalty):
    """GNMT coverage penalty, beta * sum_s log min(sum_t weights_ts, 1). Wu et al. 2016, eq. 14.

    Args:
        beta: weight of the penalty; 0 for none, 0.2 in the paper
    """

    needs_weights = True

    def __init__(self, *, beta: NonNegativeFloat = 0.2) -> None:
        assert beta >= 0
        self.beta = beta

    def __call__(
        self, coverage: Float[Tensor, "*rows #s"], mask: Bool[Tensor, "*#rows #s"]
    ) -> Float[Tensor, "*rows"]:
        # Attention beyond 1 earns nothing: a token that is translated twice is not covered better.
        log_coverage = coverage.clamp(MIN_COVERAGE, 1.0).log()
        return self.beta * log_coverage.masked_fill(~mask, 0.0).sum(-1)


class Scoring(NamedTuple):
    """The score of Wu et al. 2016, equation 14: length(log_prob) + coverage, in float64."""

    length: LengthPenalty
    coverage: CoveragePenalty

    def check(self, weights_ns: Float[Tensor, "*rows s"] | None) -> None:
        """Raise UserError if the coverage penalty requires weights and the model has none."""
        if weights_ns is None and self.coverage.needs_weights:
            raise UserError(
                "coverage_penalty requires a model with attention; use coverage_penalty: none"
            )

    def scores(
        self,
        log_prob: Float[Tensor, "*rows"],
        length: int,
        coverage: Float[Tensor, "*rows #s"],
        mask: Bool[Tensor, "*#rows #s"],
    ) -> Float[Tensor, "*rows"]:
        """Return the scores of hypotheses of one length."""
        # float64, so that the order of nearly equal scores does not depend on the device.
        return self.length(log_prob.double(), length) + self.coverage(coverage.double(), mask)

    def bound(
        self, log_prob_b: Float[Tensor, "b"], max_length_b: Int[Tensor, "b"]
    ) -> Float[Tensor, "b"]:
        """Return the highest score that any continuation of up to the maximum length can reach.

        A further token never raises the log-probability, the coverage penalty is at most 0, and the
        length penalty is highest at the maximum length.
        """
        return self.length(log_prob_b.double(), max_length_b.double())


UNPENALIZED = Scoring(NoLengthPenalty(), NoCoveragePenalty())
