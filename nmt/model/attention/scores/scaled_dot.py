"""Scaled dot product score."""

from math import sqrt

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count
from nmt.model.attention.score import BilinearScore
from nmt.registry import SCORES


@SCORES.register("scaled_dot")
class ScaledDotScore(BilinearScore):
    """Scaled dot product score, q·k / √d, for equal widths. Vaswani et al. 2017, eq. 1.

    Args:
        heads: number of heads, each with a part of q and k, whose width is d
    """

    supports_fused = True

    def __init__(self, query_size: int, key_size: int, *, heads: Count = 1) -> None:
        super().__init__(query_size, key_size, heads)
        self.require_equal_sizes()
        self.head_size = query_size // heads
        self.query_scale = 1 / sqrt(self.head_size)

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q d"]:
        return query_bqd / sqrt(self.head_size)
