"""Bilinear score."""

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count
from nmt.model.attention.score import BilinearScore
from nmt.model.layers.linear import ConcatLinear
from nmt.registry import SCORES


@SCORES.register("general")
class GeneralScore(BilinearScore):
    """Bilinear score, qᵀ W k. Luong et al. 2015, section 3.1 ("general").

    With several heads the score of head i is (Q_i q)ᵀ W_i k, and each has a part of the width of q.

    Args:
        heads: number of heads
    """

    supports_fused = True

    def __init__(self, query_size: int, key_size: int, *, heads: Count = 1) -> None:
        super().__init__(query_size, key_size, heads)
        self.keys_size = query_size
        self.key = ConcatLinear((key_size,), self.head_weight(query_size, key_size))
        self.query: ConcatLinear | None = None
        if heads > 1:
            self.query = ConcatLinear((query_size,), self.head_weight(query_size, query_size))

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s d"]:
        # W k once per sentence; with one head, q is used as it is.
        return self.key(states_bse)

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q d"]:
        return query_bqd if self.query is None else self.query(query_bqd)

    def query_matrix(self) -> Float[Tensor, "d d"] | None:
        return None if self.query is None else self.query.weight
