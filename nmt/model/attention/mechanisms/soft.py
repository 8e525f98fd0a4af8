"""Soft attention."""

from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import NonNegativeFloat
from nmt.model.attention.mechanism import (
    AttentionMemory,
    AttentionOutput,
    AttentionState,
    GatedMechanism,
)
from nmt.model.attention.score import Score
from nmt.registry import MECHANISMS


@MECHANISMS.register("soft")
class SoftAttention(GatedMechanism):
    """Soft attention with doubly stochastic regularization. Xu et al. 2015, section 4.2.

    The context is β Σ_s α_s h_s with the gate β = σ(w·q + b). The penalty λ Σ_s (1 - Σ_t α_ts)²,
    eq. 14, over the real positions s and t of each sentence, is added to the loss. For images and
    for text.

    Args:
        gate: whether contexts are multiplied by β
        doubly_stochastic: λ, weight of the penalty for a total attention other than one per
            position
    """

    def __init__(
        self,
        score: Score,
        query_size: int,
        *,
        gate: bool = True,
        doubly_stochastic: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(score, query_size, gate)
        self.doubly_stochastic = doubly_stochastic

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: AttentionState
    ) -> tuple[AttentionOutput, AttentionState]:
        energies_bxs = self.score(query_bqd, memory.keys_bsa)
        weights_bxs = self.softmax(energies_bxs, memory.mask_bs).to(memory.values_bse.dtype)
        context_bqe = self.context(weights_bxs, query_bqd, memory)
        weights_bqs = self.average_heads(weights_bxs, self.heads)
        if not self.has_auxiliary_loss:
            return AttentionOutput(context_bqe, weights_bqs), state
        # The auxiliary loss needs the source mask, which it does not receive otherwise.
        mask_bqs = memory.mask_bs[:, None].expand_as(weights_bqs)
        return AttentionOutput(context_bqe, weights_bqs, (weights_bqs, mask_bqs)), state

    @property
    def has_auxiliary_loss(self) -> bool:
        return self.doubly_stochastic > 0

    def auxiliary_loss(
        self,
        auxiliary: tuple[Tensor, ...],
        nll_bt: Float[Tensor, "b t"],
        mask_bt: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""]:
        weights_bts, mask_bts = auxiliary
        # Target padding attends too, but does not count.
        weights_bts = weights_bts.masked_fill(~mask_bt[:, :, None], 0.0)
        total_bs = weights_bts.sum(dim=1, dtype=nll_bt.dtype)
        deviation_bs = (1 - total_bs).masked_fill(~mask_bts[:, 0], 0.0)
        return self.doubly_stochastic * deviation_bs.square().sum()
