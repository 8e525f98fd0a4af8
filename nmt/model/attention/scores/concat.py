"""Concatenation score."""

from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.attention.score import TanhScore
from nmt.model.layers.initial import xavier
from nmt.parts import Positive
from nmt.registry import SCORES


@SCORES.register("concat")
class ConcatScore(TanhScore):
    """v·tanh(W [q; k]). Luong et al. 2015, eq. 8 ("concat").

    W [q; k] = W_q q + W_k k, so the half that belongs to the source is multiplied once a sentence.

    Args:
        hidden_size: width of the alignment layer; the decoder's width when not given
    """

    linear = True

    def __init__(
        self, query_size: int, key_size: int, *, hidden_size: Positive | None = None
    ) -> None:
        super().__init__(query_size, key_size, hidden_size or query_size)
        self.weight = nn.Parameter(xavier(self.keys_size, query_size + key_size))

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s a"]:
        return nn.functional.linear(states_bse, self.weight[:, self.query_size :])

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q a"]:
        return nn.functional.linear(query_bqd, self.weight[:, : self.query_size])
