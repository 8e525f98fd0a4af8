"""Cosine score."""

from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from nmt.component_spec import PositiveFloat
from nmt.model.attention.score import BilinearScore
from nmt.registry import SCORES


@SCORES.register("cosine")
class CosineScore(BilinearScore):
    """Cosine score, β cos(q, k), for q and k of equal width. Graves et al. 2014, eqs. 5-6.

    Args:
        sharpness: β, or its initial value if it is learned
        learned: whether β is a parameter
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        *,
        sharpness: PositiveFloat = 10.0,
        learned: bool = True,
    ) -> None:
        super().__init__(query_size, key_size)
        self.require_equal_sizes()
        value = torch.tensor(log(sharpness))
        # The logarithm keeps a learned sharpness positive.
        if learned:
            self.log_sharpness = nn.Parameter(value)
        else:
            # An option, not a weight: it is not in checkpoints.
            self.register_buffer("log_sharpness", value, persistent=False)

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s e"]:
        return normalize(states_bse, dim=-1)

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q d"]:
        # β scales the query, so keys are unit vectors.
        return self.log_sharpness.exp() * normalize(query_bqd, dim=-1)
