"""Scaled dot product score."""

from math import sqrt

from jaxtyping import Float
from torch import Tensor

from nmt.model.attention.score import BilinearScore
from nmt.registry import SCORES


@SCORES.register("scaled_dot")
class ScaledDotScore(BilinearScore):
    """Scaled dot product score, q·k / √d, for equal widths. Vaswani et al. 2017, eq. 1."""

    supports_fused = True

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.require_equal_sizes()
        self.query_scale = 1 / sqrt(query_size)

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q d"]:
        return query_bqd / sqrt(self.query_size)
