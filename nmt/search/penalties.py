"""How a hypothesis of several pieces is scored: its log-probability, its length, its coverage."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from nmt.component_spec import NonNegativeFloat
from nmt.errors import UserError
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES

LEAST_COVERAGE = 1e-4
"""Coverage below this counts as this: a position never looked at costs 9.2 nats, not infinity.

Softmax weights underflow and local attention gives exact zeros, and a hypothesis must stay
comparable with others when one source piece was passed over.
"""


class LengthPenalty(ABC):
    """Makes hypotheses of unequal length comparable.

    For log_prob <= 0 the result must not fall with length nor rise with a falling log_prob: search
    stops by that.
    """

    @abstractmethod
    def __call__(
        self, log_prob: Float[Tensor, "..."], length: Num[Tensor, "..."] | int
    ) -> Float[Tensor, "..."]:
        """Score of hypotheses of `length` target pieces, the end mark counted."""


@LENGTH_PENALTIES.register("none")
class NoLengthPenalty(LengthPenalty):
    """The log-probability itself: favours short hypotheses."""

    def __call__(
        self, log_prob: Float[Tensor, "..."], length: Num[Tensor, "..."] | int
    ) -> Float[Tensor, "..."]:
        return log_prob


@LENGTH_PENALTIES.register("average")
class AverageLengthPenalty(LengthPenalty):
    """log_prob / length**alpha: the mean log-probability of a piece at alpha 1 (Jean et al. 2015).

    Args:
        alpha: 0 is no penalty, 1 the mean
    """

    def __init__(self, *, alpha: NonNegativeFloat = 1.0) -> None:
        assert alpha >= 0
        self.alpha = alpha

    def __call__(
        self, log_prob: Float[Tensor, "..."], length: Num[Tensor, "..."] | int
    ) -> Float[Tensor, "..."]:
        return log_prob / length**self.alpha


@LENGTH_PENALTIES.register("gnmt")
class GnmtLengthPenalty(LengthPenalty):
    """log_prob / ((5 + length) / 6)**alpha (Wu et al. 2016, equation 14).

    Args:
        alpha: 0 is no penalty; 0.2 in the paper, 0.6 to 1.0 in much later work
    """

    def __init__(self, *, alpha: NonNegativeFloat = 0.2) -> None:
        assert alpha >= 0
        self.alpha = alpha

    def __call__(
        self, log_prob: Float[Tensor, "..."], length: Num[Tensor, "..."] | int
    ) -> Float[Tensor, "..."]:
        return log_prob / ((5 + length) / 6) ** self.alpha


class CoveragePenalty(ABC):
    """What a hypothesis pays for source positions that it did not look at: at most 0.

    Attributes:
        needs_weights: whether a model without attention cannot be scored
    """

    needs_weights: ClassVar[bool]

    @abstractmethod
    def __call__(
        self, coverage: Float[Tensor, "*rows #s"], mask: Bool[Tensor, "*#rows #s"]
    ) -> Float[Tensor, "*rows"]:
        """What is added to scores, from the weights summed over target positions."""


@COVERAGE_PENALTIES.register("none")
class NoCoveragePenalty(CoveragePenalty):
    """Nothing is paid."""

    needs_weights = False

    def __call__(
        self, coverage: Float[Tensor, "*rows #s"], mask: Bool[Tensor, "*#rows #s"]
    ) -> Float[Tensor, "*rows"]:
        return coverage.new_zeros(coverage.shape[:-1])


@COVERAGE_PENALTIES.register("gnmt")
class GnmtCoveragePenalty(CoveragePenalty):
    """beta * sum_s log min(sum_t weights_ts, 1), s a real position (Wu et al. 2016, equation 14).

    Args:
        beta: 0 is no penalty; 0.2 in the paper
    """

    needs_weights = True

    def __init__(self, *, beta: NonNegativeFloat = 0.2) -> None:
        assert beta >= 0
        self.beta = beta

    def __call__(
        self, coverage: Float[Tensor, "*rows #s"], mask: Bool[Tensor, "*#rows #s"]
    ) -> Float[Tensor, "*rows"]:
        paid = coverage.clamp(LEAST_COVERAGE, 1.0).log()
        return self.beta * paid.masked_fill(~mask, 0.0).sum(-1)


class Scoring(NamedTuple):
    """The two penalties of Wu et al. 2016, equation 14: length(log_prob) + coverage, in float64."""

    length: LengthPenalty
    coverage: CoveragePenalty

    def check(self, weights_ns: Float[Tensor, "n s"] | None) -> None:
        """Raises UserError when the coverage penalty needs weights and the model gives none."""
        if weights_ns is None and self.coverage.needs_weights:
            raise UserError(
                "this model has no attention, so its hypotheses have no coverage; "
                "coverage_penalty: none would be right"
            )

    def scores(
        self,
        log_prob: Float[Tensor, "*rows"],
        length: int,
        coverage: Float[Tensor, "*rows #s"],
        mask: Bool[Tensor, "*#rows #s"],
    ) -> Float[Tensor, "*rows"]:
        """Penalised scores of hypotheses of one length."""
        return self.length(log_prob.double(), length) + self.coverage(coverage.double(), mask)

    def bound(
        self, log_prob_b: Float[Tensor, "b"], max_length_b: Int[Tensor, "b"]
    ) -> Float[Tensor, "b"]:
        """What no continuation of up to this length can beat: nothing more is lost."""
        return self.length(log_prob_b.double(), max_length_b.double())


UNPENALISED = Scoring(NoLengthPenalty(), NoCoveragePenalty())
