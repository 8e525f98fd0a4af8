"""Cosine score."""

from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from nmt.component_spec import Count, PositiveFloat
from nmt.model.attention.score import BilinearScore
from nmt.registry import SCORES


@SCORES.register("cosine")
class CosineScore(BilinearScore):
    """Cosine score, β cos(q, k), for q and k of equal width. Graves et al. 2014, eqs. 5-6.

    Args:
        sharpness: β, or its initial value if it is learned
        learned: whether β is a parameter
        heads: number of heads, each with a part of q and k
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        *,
        sharpness: PositiveFloat = 10.0,
        learned: bool = True,
        heads: Count = 1,
    ) -> None:
        super().__init__(query_size, key_size, heads)
        self.require_equal_sizes()
        value = torch.tensor(log(sharpness))
        # The logarithm keeps a learned sharpness positive.
        if learned:
            self.log_sharpness = nn.Parameter(value)
        else:
            # An option, not a weight: it is not in checkpoints.
            self.register_buffer("log_sharpness", value, persistent=False)

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s e"]:
        return self._unit_vectors(states_bse)

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q d"]:
        # β scales the query, so keys are unit vectors.
        return self.log_sharpness.exp() * self._unit_vectors(query_bqd)

    def _unit_vectors(self, vectors: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        """Divide the part of each head by its length."""
        if self.heads == 1:
            return normalize(vectors, dim=-1)
        parts = vectors.unflatten(-1, (self.heads, -1))  # type: ignore[no-untyped-call]
        return normalize(parts, dim=-1).flatten(-2)
