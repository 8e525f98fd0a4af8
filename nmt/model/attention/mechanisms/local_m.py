"""Monotonic local attention."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nmt.component_spec import Length
from nmt.model.attention.mechanism import (
    AttentionMemory,
    AttentionOutput,
    AttentionState,
    LocalMechanism,
)
from nmt.model.attention.score import Score
from nmt.registry import MECHANISMS


@MECHANISMS.register("local_m")
class MonotonicLocalAttention(LocalMechanism):
    """Monotonic local attention (local-m) around position t. Luong et al. 2015, section 3.2.

    The weights are a softmax over the window [t - D, t + D]. Positions count from 0, and the window
    ends at the ends of the sentence. If t - D is beyond the last real position, which the paper
    does not mention, that position is the center.

    Args:
        window: D, source positions on either side of the center
    """

    recurrent = True

    def __init__(self, score: Score, *, window: Length = 10) -> None:
        super().__init__(score, window)

    def start(self, memory: AttentionMemory) -> AttentionState:
        position_b = torch.zeros(
            len(memory.mask_bs), dtype=torch.long, device=memory.mask_bs.device
        )
        return (position_b,)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: AttentionState
    ) -> tuple[AttentionOutput, AttentionState]:
        (position_n,) = state
        energies_bxs = self.score(query_bqd, memory.keys_bsa)
        # One position per hypothesis; all queries of a step may differ.
        center_bq = self._center(position_n.view(query_bqd.shape[:2]), memory)
        distance_bqs = self.distances(center_bq, memory.mask_bs)
        weights_bxs = self.window_softmax(energies_bxs, distance_bqs, memory.mask_bs)
        weights_bxs = weights_bxs.to(memory.values_bse.dtype)
        context_bqe = self.weighted_sum(weights_bxs, memory.values_bse)
        weights_bqs = self.average_heads(weights_bxs, self.heads)
        return AttentionOutput(context_bqe, weights_bqs), (position_n + 1,)

    def _center(
        self, position_bq: Int[Tensor, "b q"], memory: AttentionMemory
    ) -> Int[Tensor, "b q"]:
        # Beyond the sentence the window stays at its last position, so it is never empty.
        last_b1 = memory.mask_bs.sum(dim=1, keepdim=True) - 1
        return torch.where(position_bq - self.window > last_b1, last_b1, position_bq)
