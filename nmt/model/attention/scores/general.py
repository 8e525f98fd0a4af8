"""Bilinear score."""

from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.attention.score import BilinearScore
from nmt.model.layers.init import xavier
from nmt.registry import SCORES


@SCORES.register("general")
class GeneralScore(BilinearScore):
    """Bilinear score, qᵀ W k. Luong et al. 2015, eq. 8 ("general")."""

    supports_fused = True

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.keys_size = query_size
        self.weight_de = nn.Parameter(xavier(query_size, key_size))

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s d"]:
        # W k once per sentence; q is used as it is.
        return nn.functional.linear(states_bse, self.weight_de)
