"""Bilinear score."""

from jaxtyping import Float
from torch import Tensor

from nmt.model.attention.score import BilinearScore
from nmt.model.layers.linear import ConcatLinear, xavier
from nmt.registry import SCORES


@SCORES.register("general")
class GeneralScore(BilinearScore):
    """Bilinear score, qᵀ W k. Luong et al. 2015, section 3.1 ("general")."""

    supports_fused = True

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.keys_size = query_size
        self.key = ConcatLinear((key_size,), xavier(query_size, key_size))

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s d"]:
        # W k once per sentence; q is used as it is.
        return self.key(states_bse)
