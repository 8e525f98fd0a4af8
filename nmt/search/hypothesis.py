"""One target sequence of a model, the result of every kind of decoding, and its alternatives."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from nmt.search.beam_tree import BeamLeaf


class Alternative(NamedTuple):
    """A token that the model could have continued a hypothesis with.

    Attributes:
        token: token id
        log_prob: log p(token | tokens before it, source), the natural logarithm
    """

    token: int
    log_prob: float


class Hypothesis(NamedTuple):
    """One target sequence with its scores and attention weights.

    Attributes:
        tokens: token ids in order; `eos` is the last one if the hypothesis is finished
        score: log-probability normalized by length, plus the coverage penalty
        log_prob: log p(tokens | source), the natural logarithm
        token_log_probs: log-probability of each token; their sum is `log_prob`
        weights_ts: attention weights on the CPU, one row per token, one column per source position
            without padding; None if the model has no attention
        finished: False if the maximum length was reached before `eos`
        model_scores: scores by each model of reranking, that of the search first
        leaf: its last node in the tree of the beam; None unless beam search recorded the tree
        alignment_ts: weights that align each token, as `weights_ts`; zero for a last token, which
            no step has read; None from a model without an attention for alignments
    """

    tokens: list[int]
    score: float
    log_prob: float
    token_log_probs: list[float]
    weights_ts: Float[Tensor, "t s"] | None
    finished: bool
    model_scores: tuple[float, ...] = ()
    leaf: BeamLeaf | None = None
    alignment_ts: Float[Tensor, "t s"] | None = None

    @property
    def content(self) -> list[int]:
        """Return the tokens without `eos`."""
        return self.tokens[:-1] if self.finished else self.tokens
