"""Base classes of attention mechanisms, which turn queries into contexts."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from nmt.model.attention.score import Score
from nmt.model.interfaces import Encoded, FusedSupport
from nmt.model.layers.arithmetic import TORCH_ARITHMETIC, Arithmetic
from nmt.model.layers.linear import ConcatLinear
from nmt.model.layers.multi_head import check_heads

AttentionState = tuple[Tensor, ...]
"""State of a mechanism, such as its coverage: tensors with n rows; empty without a state."""


class AttentionMemory(NamedTuple):
    """Keys and values of a batch of source sentences, computed once per sentence."""

    keys_bsa: Float[Tensor, "b s a"]
    values_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]


class AttentionOutput(NamedTuple):
    """Contexts and attention weights of q queries per sentence.

    Attributes:
        context_bqe: weighted sums of the values
        weights_bqs: attention weights
        auxiliary: arguments of `Mechanism.auxiliary_loss`, tensors whose first axes are b q
    """

    context_bqe: Float[Tensor, "b q e"]
    weights_bqs: Float[Tensor, "b q s"]
    auxiliary: tuple[Tensor, ...] = ()


class AttentionStep(NamedTuple):
    """Context and attention weights of each hypothesis, and the new state of the mechanism."""

    context_ne: Float[Tensor, "n e"]
    weights_ns: Float[Tensor, "n s"]
    auxiliary: tuple[Tensor, ...]
    state: AttentionState


class Mechanism(FusedSupport, nn.Module, ABC):
    """An attention mechanism.

    The queries of a sentence, axis q, are its hypotheses in search or its target positions in
    training. All of them share the sentence's memory, which is never copied for them.

    Attributes:
        recurrent: whether the weights of a query depend on earlier queries
        normalized: whether the weights of a query sum to one
        context_is_linear: whether a context is a linear function of `AttentionMemory.values_bse`,
            such as their weighted sum
        arithmetic: arithmetic of products and sums; row-independent in search
    """

    fused_methods = ("start", "forward", "attend")
    recurrent: bool = False
    normalized: bool = True
    context_is_linear: bool = False
    arithmetic: Arithmetic = TORCH_ARITHMETIC

    @abstractmethod
    def prepare(self, source: Encoded) -> AttentionMemory:
        """Compute keys and values, once per sentence."""

    def start(self, memory: AttentionMemory) -> AttentionState:
        """Return the state before the first query, with one row per sentence."""
        return ()

    @abstractmethod
    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: AttentionState
    ) -> tuple[AttentionOutput, AttentionState]:
        """Attend with q queries per sentence that do not depend on each other."""

    @property
    def has_auxiliary_loss(self) -> bool:
        """Return whether training adds `auxiliary_loss`."""
        return type(self).auxiliary_loss is not Mechanism.auxiliary_loss

    def auxiliary_loss(
        self,
        auxiliary: tuple[Tensor, ...],
        nll_bt: Float[Tensor, "b t"],
        mask_bt: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""] | None:
        """Return an addend of the loss, or None; see `Decoder.auxiliary_loss`."""
        return None

    def attend(
        self, query_nd: Float[Tensor, "n d"], memory: AttentionMemory, state: AttentionState
    ) -> AttentionStep:
        """Attend with one query per hypothesis."""
        sentences = memory.mask_bs.size(0)
        # A view: the hypotheses of a sentence are neighboring rows.
        query_bkd = query_nd.unflatten(0, (sentences, -1))  # type: ignore[no-untyped-call]
        # The hypotheses of a sentence are its queries.
        output, state = self(query_bkd, memory, state)
        return AttentionStep(
            output.context_bqe.flatten(0, 1),
            output.weights_bqs.flatten(0, 1),
            tuple(tensor.flatten(0, 1) for tensor in output.auxiliary),
            state,
        )


AttentionFactory = Callable[[int], Mechanism]
"""Width of a query -> a mechanism; a decoder builds one for each layer that attends."""

HeadAverage = Callable[[Tensor, int], Tensor]
"""(weights_bxs, heads) -> weights_bqs, from a row per head of each query"""

Softmax = Callable[[Tensor, Tensor], Tensor]
"""(energies_bqs, mask_bs) -> weights_bqs"""


def mask_energies(
    energies_bqs: Float[Tensor, "b q s"], mask_bs: Bool[Tensor, "b s"]
) -> Float[Tensor, "b q s"]:
    """Set the energies of padding to minus infinity."""
    return energies_bqs.masked_fill(~mask_bs[:, None], float("-inf"))


def masked_softmax(
    energies_bqs: Float[Tensor, "b q s"], mask_bs: Bool[Tensor, "b s"]
) -> Float[Tensor, "b q s"]:
    """Compute weights that sum to one over the real positions and are exactly zero in padding."""
    return mask_energies(energies_bqs, mask_bs).softmax(dim=-1)


def average_heads(weights_bxs: Float[Tensor, "b x s"], heads: int) -> Float[Tensor, "b q s"]:
    """Return the mean of the attention weights of the heads of each query."""
    if heads == 1:
        return weights_bxs
    parts_bqhs: Tensor = weights_bxs.unflatten(1, (-1, heads))  # type: ignore[no-untyped-call]
    return parts_bqhs.mean(dim=2)


class ScoredMechanism(Mechanism):
    """Base of mechanisms with one score, whose context is a sum of annotations.

    If the score has several heads, each has weights of its own, and the context is
    [Σ_s α_1s V_1 h_s; ...; Σ_s α_ns V_n h_s] with n heads, as wide as an annotation: Vaswani et al.
    2017, section 3.2.2, without the last projection, since decoders multiply contexts themselves.

    Args:
        score: compares queries with keys

    Attributes:
        heads: number of heads of the score
        softmax: computes weights from energies
        average_heads: computes the weights that are returned
        values: [V_1; ...; V_h]; None with one head, whose values are the annotations
    """

    context_is_linear = True

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score, self.heads = score, score.heads
        self.softmax: Softmax = masked_softmax
        self.average_heads: HeadAverage = average_heads
        self.values: ConcatLinear | None = None
        if self.heads > 1:
            check_heads(score.keys_size, self.heads)
            size = score.key_size
            self.values = ConcatLinear((size,), score.head_weight(size, size))
            self.context_is_linear = False

    def prepare(self, source: Encoded) -> AttentionMemory:
        # Annotations may be stored with the time axis first; products would copy them at each step.
        states_bse = source.states_bse.contiguous()
        values_bse = states_bse if self.values is None else self.values(states_bse)
        return AttentionMemory(self.score.prepare(states_bse), values_bse, source.mask_bs)

    def weighted_sum(
        self, weights_bxs: Float[Tensor, "b x s"], values_bse: Float[Tensor, "b s e"]
    ) -> Float[Tensor, "b q e"]:
        """Compute the context of each query from a row of weights per head."""
        if self.heads == 1:
            return self.arithmetic.context(weights_bxs, values_bse)
        own_weights = weights_bxs.unflatten(1, (-1, self.heads)).unbind(2)  # type: ignore[no-untyped-call]
        own_values = values_bse.chunk(self.heads, dim=-1)
        return torch.cat(list(map(self.arithmetic.context, own_weights, own_values)), dim=-1)

    def per_head(self, rows_bqs: Shaped[Tensor, "b q s"]) -> Shaped[Tensor, "b x s"]:
        """Repeat the row of each query for its heads."""
        return rows_bqs if self.heads == 1 else rows_bqs.repeat_interleave(self.heads, dim=1)


class GatedMechanism(ScoredMechanism):
    """Base of mechanisms with c = β Σ_s α_s h_s, where β = σ(w·q + b). Xu et al. 2015, 4.2.1.

    Args:
        score: compares queries with keys
        query_size: width d of a query
        gate: whether contexts are multiplied by β
    """

    def __init__(self, score: Score, query_size: int, gate: bool) -> None:
        super().__init__(score)
        self.gate = nn.Linear(query_size, 1) if gate else None

    def context(
        self,
        weights_bxs: Float[Tensor, "b x s"],
        query_bqd: Float[Tensor, "b q d"],
        memory: AttentionMemory,
    ) -> Float[Tensor, "b q e"]:
        """Compute contexts from weights."""
        context_bqe = self.weighted_sum(weights_bxs, memory.values_bse)
        if self.gate is None:
            return context_bqe
        # The last bit of a matrix product with one column, and of a sigmoid in float32, depends on
        # the number of queries.
        products_bqd = (query_bqd * self.gate.weight).double()
        gate_bq1 = torch.sigmoid(products_bqd.sum(dim=-1, keepdim=True) + self.gate.bias)
        return gate_bq1.to(context_bqe.dtype) * context_bqe


class LocalMechanism(ScoredMechanism):
    """Base of mechanisms that attend to a window of the source.

    Args:
        score: compares queries with keys
        window: D, source positions on either side of the center
    """

    def __init__(self, score: Score, window: int) -> None:
        super().__init__(score)
        self.window = window

    def distances(
        self, center_bq: Shaped[Tensor, "b q"], mask_bs: Bool[Tensor, "b s"]
    ) -> Shaped[Tensor, "b q s"]:
        """Compute s - p for every source position s, counted from 0, and every center p."""
        return torch.arange(mask_bs.size(1), device=mask_bs.device) - center_bq[:, :, None]

    def window_softmax(
        self,
        energies_bxs: Float[Tensor, "b x s"],
        distance_bqs: Shaped[Tensor, "b q s"],
        mask_bs: Bool[Tensor, "b s"],
    ) -> Float[Tensor, "b x s"]:
        """Compute weights that sum to one over real positions with |s - p| <= D, zero elsewhere.

        Each window must contain a real position. If the score has no energy for any of them, as a
        location score of limited length, they get equal weights.
        """
        # Otherwise a window of minus infinities alone would give NaN.
        energies_bxs = energies_bxs.clamp_min(torch.finfo(energies_bxs.dtype).min)
        # Padding within the window is masked by the softmax.
        outside_bxs = self.per_head(distance_bqs.abs() > self.window)
        return self.softmax(energies_bxs.masked_fill(outside_bxs, float("-inf")), mask_bs)
