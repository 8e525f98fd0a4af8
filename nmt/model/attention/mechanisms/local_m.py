"""Monotonic local attention."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nmt.component_spec import Positive
from nmt.model.attention.mechanism import AttentionMemory, AttentionOutput
from nmt.model.attention.score import Score
from nmt.model.attention.scored import ScoredMechanism
from nmt.model.attention.window import distances, window_softmax
from nmt.registry import MECHANISMS

PositionState = tuple[Int[Tensor, " n"]]
"""The target position that a hypothesis reads for next."""


@MECHANISMS.register("local_m")
class MonotonicLocalAttention(ScoredMechanism):
    """Monotonic local attention (local-m) around position t. Luong et al. 2015, section 3.2.

    The weights are a softmax over source positions [t - D, t + D] for target position t. Positions
    count from 0, and the ends of the sentence cut the window. If t - D exceeds the last real
    position, a case that the paper does not mention, that position is the center.

    Args:
        window: D, source positions on either side of the center
    """

    recurrent = True

    def __init__(self, score: Score, *, window: Positive = 10) -> None:
        super().__init__(score)
        self.window = window

    def start(self, memory: AttentionMemory) -> PositionState:
        return (torch.zeros(len(memory.mask_bs), dtype=torch.long, device=memory.mask_bs.device),)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: PositionState
    ) -> tuple[AttentionOutput, PositionState]:
        (position_n,) = state
        energies_bqs = self.score(query_bqd, memory.keys_bsa)
        centre_bq = self._centre(position_n.view(query_bqd.shape[:2]), memory)
        distance_bqs = distances(centre_bq, memory.mask_bs)
        weights_bqs = window_softmax(
            energies_bqs, distance_bqs, self.window, memory.mask_bs, self.softmax
        )
        weights_bqs = weights_bqs.to(memory.values_bse.dtype)
        return AttentionOutput(weights_bqs @ memory.values_bse, weights_bqs), (position_n + 1,)

    def _centre(
        self, position_bq: Int[Tensor, "b q"], memory: AttentionMemory
    ) -> Int[Tensor, "b q"]:
        last_b1 = memory.mask_bs.sum(dim=1, keepdim=True) - 1
        return torch.where(position_bq - self.window > last_b1, last_b1, position_bq)
