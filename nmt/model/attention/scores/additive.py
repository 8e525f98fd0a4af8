"""Additive score."""

from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.attention.score import TanhScore
from nmt.model.layers.initial import xavier
from nmt.parts import Positive
from nmt.registry import SCORES


@SCORES.register("additive")
class AdditiveScore(TanhScore):
    """v·tanh(W q + U k). Bahdanau et al. 2014, appendix A.1.2.

    Args:
        hidden_size: width of the alignment layer; the decoder's width when not given
    """

    linear = True

    def __init__(
        self, query_size: int, key_size: int, *, hidden_size: Positive | None = None
    ) -> None:
        super().__init__(query_size, key_size, hidden_size or query_size)
        self.query_weight_ad = nn.Parameter(xavier(self.keys_size, query_size))
        self.key_weight_ae = nn.Parameter(xavier(self.keys_size, key_size))

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s a"]:
        return nn.functional.linear(states_bse, self.key_weight_ae)

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q a"]:
        return nn.functional.linear(query_bqd, self.query_weight_ad)
