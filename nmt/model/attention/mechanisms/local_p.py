"""Predictive local attention."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from nmt.component_spec import Positive
from nmt.model.attention.mechanism import AttentionMemory, AttentionOutput
from nmt.model.attention.score import Score
from nmt.model.attention.scored import ScoredMechanism
from nmt.model.attention.window import distances, window_softmax
from nmt.model.layers.initial import xavier
from nmt.registry import MECHANISMS


@MECHANISMS.register("local_p")
class PredictiveLocalAttention(ScoredMechanism):
    """Predictive local attention (local-p), a window around p. Luong et al. 2015, eqs. 9-10.

    p = S σ(v·tanh(W q)) and α_s = softmax(e)_s exp(-(s - p)² / 2σ²) with σ = D/2. The softmax is
    over the real positions s, counted from 0, with |s - p| <= D; all other weights are zero. The
    weights are not normalized again. The window has no gradient; p learns from the Gaussian.

    Args:
        window: D, source positions on either side of p
        hidden_size: width of W q (default: width of the query)
    """

    normalised = False

    def __init__(
        self,
        score: Score,
        query_size: int,
        *,
        window: Positive = 10,
        hidden_size: Positive | None = None,
    ) -> None:
        super().__init__(score)
        self.window = window
        self.query_weight_ad = nn.Parameter(xavier(hidden_size or query_size, query_size))
        self.center_a = nn.Parameter(xavier(1, hidden_size or query_size)[0])

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: tuple[()]
    ) -> tuple[AttentionOutput, tuple[()]]:
        energies_bqs = self.score(query_bqd, memory.keys_bsa)
        distance_bqs = distances(self.centre(query_bqd, memory.mask_bs), memory.mask_bs)
        bell_bqs = torch.exp(-2 * (distance_bqs / self.window).square())  # 2σ² = D²/2
        softmax_bqs = window_softmax(
            energies_bqs, distance_bqs, self.window, memory.mask_bs, self.softmax
        )
        weights_bqs = (softmax_bqs * bell_bqs).to(memory.values_bse.dtype)
        return AttentionOutput(weights_bqs @ memory.values_bse, weights_bqs), state

    def centre(
        self, query_bqd: Float[Tensor, "b q d"], mask_bs: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b q"]:
        """Return p of every query, in source positions."""
        hidden_bqa = torch.tanh(linear(query_bqd, self.query_weight_ad))
        # In bfloat16 p would be half a piece off in a hundred, and a product's last bit would show
        # how many queries there are.
        share_bq = torch.sigmoid((hidden_bqa * self.center_a).double().sum(dim=-1))
        return mask_bs.sum(dim=1, keepdim=True) * share_bq
