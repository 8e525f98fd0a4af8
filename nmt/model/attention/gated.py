"""A reading that may be turned down."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.attention.mechanism import AttentionMemory
from nmt.model.attention.score import Score
from nmt.model.attention.scored import ScoredMechanism


class GatedMechanism(ScoredMechanism):
    """c = β Σ_s α_s a_s with β = σ(w·q + b), a number a reading. Xu et al. 2015, section 4.2.1.

    Args:
        score: how well each source position answers a query
        query_size: width d of a query
        gate: whether there is β; else it is 1
    """

    def __init__(self, score: Score, query_size: int, gate: bool) -> None:
        super().__init__(score)
        self.gate = nn.Linear(query_size, 1) if gate else None

    def context(
        self,
        weights_bqs: Float[Tensor, "b q s"],
        query_bqd: Float[Tensor, "b q d"],
        memory: AttentionMemory,
    ) -> Float[Tensor, "b q e"]:
        """What these weights read, times β."""
        context_bqe = weights_bqs @ memory.values_bse
        if self.gate is None:
            return context_bqe
        # One number a reading: as a product, and as a sigmoid in float32, its last bit would show
        # how many readings there are.
        products_bqd = (query_bqd * self.gate.weight).double()
        gate_bq1 = torch.sigmoid(products_bqd.sum(dim=-1, keepdim=True) + self.gate.bias)
        return gate_bq1.to(context_bqe.dtype) * context_bqe
