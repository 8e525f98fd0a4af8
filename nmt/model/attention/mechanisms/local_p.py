"""Predictive local attention."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Length, Size
from nmt.model.attention.mechanism import (
    AttentionMemory,
    AttentionOutput,
    AttentionState,
    LocalMechanism,
)
from nmt.model.attention.score import Score
from nmt.model.layers.linear import xavier
from nmt.registry import MECHANISMS


@MECHANISMS.register("local_p")
class PredictiveLocalAttention(LocalMechanism):
    """Predictive local attention (local-p), a window around p. Luong et al. 2015, eqs. 9-10.

    α_s = softmax(e)_s exp(-(s - p)² / 2σ²) with p = S σ(v·tanh(W q)) and σ = D/2. The softmax is
    over the real positions s, counted from 0, with |s - p| <= D; S is their number in the sentence.
    The weights are not normalized again. The window has no gradient; p learns by the bell curve.

    Args:
        window: D, source positions on either side of p
        hidden_size: width of W q (default: the width of a query)
    """

    normalized = False

    def __init__(
        self,
        score: Score,
        query_size: int,
        *,
        window: Length = 10,
        hidden_size: Size | None = None,
    ) -> None:
        super().__init__(score, window)
        self.query_weight_ad = nn.Parameter(xavier(hidden_size or query_size, query_size))
        self.center_a = nn.Parameter(xavier(1, hidden_size or query_size)[0])

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: AttentionState
    ) -> tuple[AttentionOutput, AttentionState]:
        energies_bxs = self.score(query_bqd, memory.keys_bsa)
        distance_bqs = self.distances(self.center(query_bqd, memory.mask_bs), memory.mask_bs)
        bell_bqs = torch.exp(-2 * (distance_bqs / self.window).square())  # 2σ² = D²/2
        softmax_bxs = self.window_softmax(energies_bxs, distance_bqs, memory.mask_bs)
        weights_bxs = (softmax_bxs * self.per_head(bell_bqs)).to(memory.values_bse.dtype)
        context_bqe = self.weighted_sum(weights_bxs, memory.values_bse)
        weights_bqs = self.average_heads(weights_bxs, self.heads)
        return AttentionOutput(context_bqe, weights_bqs), state

    def center(
        self, query_bqd: Float[Tensor, "b q d"], mask_bs: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b q"]:
        """Compute p of every query, in source positions."""
        hidden_bqa = torch.tanh(self.arithmetic.linear(query_bqd, self.query_weight_ad))
        # In float64: in bfloat16, p would be off by half a position in a hundred, and the last bit
        # of a matrix product would depend on the number of queries.
        # p relative to the length of the sentence.
        share_bq = torch.sigmoid((hidden_bqa * self.center_a).double().sum(dim=-1))
        return mask_bs.sum(dim=1, keepdim=True) * share_bq
