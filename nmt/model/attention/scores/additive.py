"""Additive score."""

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count, Size
from nmt.model.attention.score import TanhScore
from nmt.model.layers.linear import ConcatLinear
from nmt.registry import SCORES


@SCORES.register("additive")
class AdditiveScore(TanhScore):
    """Additive score, v·tanh(W q + U k). Bahdanau et al. 2014, appendix A.1.2.

    Args:
        hidden_size: width of W q and U k (default: the width of a query)
        heads: number of heads, each with a part of this width
    """

    supports_fused = True

    def __init__(
        self, query_size: int, key_size: int, *, hidden_size: Size | None = None, heads: Count = 1
    ) -> None:
        super().__init__(query_size, key_size, hidden_size or query_size, heads)
        # Without biases, as in the paper.
        self.query = ConcatLinear((query_size,), self.head_weight(self.keys_size, query_size))
        self.key = ConcatLinear((key_size,), self.head_weight(self.keys_size, key_size))

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s a"]:
        keys_bsa: Tensor = self.key(states_bse)
        return keys_bsa

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q a"]:
        projected_bqa: Tensor = self.query(query_bqd)
        return projected_bqa

    def query_matrix(self) -> Float[Tensor, "a d"]:
        weight_ad: Tensor = self.query.weight
        return weight_ad
