"""Concatenation score."""

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count, Size
from nmt.model.attention.score import TanhScore
from nmt.model.layers.linear import ConcatLinear
from nmt.registry import SCORES


@SCORES.register("concat")
class ConcatScore(TanhScore):
    """Concatenation score, v·tanh(W [q; k]). Luong et al. 2015, section 3.1 ("concat").

    Since W [q; k] = W_q q + W_k k, the term of the source is computed once per sentence.

    Args:
        hidden_size: width of W [q; k] (default: the width of a query)
        heads: number of heads, each with a part of this width
    """

    supports_fused = True

    def __init__(
        self, query_size: int, key_size: int, *, hidden_size: Size | None = None, heads: Count = 1
    ) -> None:
        super().__init__(query_size, key_size, hidden_size or query_size, heads)
        # Initialized as one matrix, as in the paper.
        weight_ax = self.head_weight(self.keys_size, query_size + key_size)
        self.joined = ConcatLinear((query_size, key_size), weight_ax)

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s a"]:
        return self.joined.term(1, states_bse)

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q a"]:
        return self.joined.term(0, query_bqd)

    def query_matrix(self) -> Float[Tensor, "a d"]:
        return self.joined.weight[:, : self.query_size]
