"""Global attention, with or without coverage."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.component_spec import Probability
from nmt.model.attention.mechanism import (
    AttentionMemory,
    AttentionOutput,
    AttentionState,
    ScoredMechanism,
)
from nmt.model.attention.score import Score
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.registry import MECHANISMS


@MECHANISMS.register("global")
class GlobalAttention(ScoredMechanism):
    """Global attention: softmax over all source positions. Luong et al. 2015, section 3.1.

    With coverage, κ_t = Σ_{i<t} α_i is added to the keys, k' + u κ. For the additive score this is
    v·tanh(W q + U k + u κ): Tu et al. 2016, eq. 8, and See et al. 2017, eq. 11.

    Args:
        coverage: whether energies depend on the sum of a position's earlier weights
        dropout: dropout rate of the weights of the context
    """

    supports_fused = True

    def __init__(self, score: Score, *, coverage: bool = False, dropout: Probability = 0.0) -> None:
        super().__init__(score)
        self.supports_fused &= score.supports_fused and not coverage and not dropout
        self.recurrent, self.dropout = coverage, dropout
        if coverage and not score.keys_size:
            raise ValueError("coverage requires a score with keys; use another score")
        if coverage:
            self.coverage_a = nn.Parameter(torch.empty(score.keys_size).uniform_(-0.1, 0.1))

    def start(self, memory: AttentionMemory) -> AttentionState:
        if not self.recurrent:
            return ()
        return (torch.zeros_like(memory.mask_bs, dtype=memory.values_bse.dtype),)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: AttentionState
    ) -> tuple[AttentionOutput, AttentionState]:
        if self.recurrent:
            energies_bxs = self._coverage_energies(query_bqd, memory, *state)
        else:
            energies_bxs = self.score(query_bqd, memory.keys_bsa)
        weights_bxs = self.softmax(energies_bxs, memory.mask_bs).to(memory.values_bse.dtype)
        weights_bqs = self.average_heads(weights_bxs, self.heads)
        if self.recurrent:
            # κ_{t+1} = κ_t + α_t
            state = (state[0] + weights_bqs.flatten(0, 1),)
        # The weights that are returned, and the coverage, have no dropout.
        kept_bxs = apply_dropout(weights_bxs, self.dropout, self.training)
        context_bqe = self.weighted_sum(kept_bxs, memory.values_bse)
        return AttentionOutput(context_bqe, weights_bqs), state

    def _coverage_energies(
        self,
        query_bqd: Float[Tensor, "b q d"],
        memory: AttentionMemory,
        coverage_ns: Float[Tensor, "n s"],
    ) -> Float[Tensor, "b x s"]:
        """Compute energies with keys that differ from hypothesis to hypothesis."""
        queries = query_bqd.size(1)
        # The coverage of each hypothesis shifts the keys, which therefore cannot be shared.
        keys_nsa = memory.keys_bsa.repeat_interleave(queries, dim=0)
        keys_nsa = keys_nsa + coverage_ns[:, :, None] * self.coverage_a
        # One query per copy of the keys.
        energies_nxs = self.score(query_bqd.flatten(0, 1)[:, None], keys_nsa)
        return energies_nxs.unflatten(0, (-1, queries)).flatten(1, 2)
