"""Dot product score."""

from nmt.component_spec import Count
from nmt.model.attention.score import BilinearScore
from nmt.registry import SCORES


@SCORES.register("dot")
class DotScore(BilinearScore):
    """Dot product score, q·k, for q and k of equal width. Luong et al. 2015, section 3.1, "dot".

    Args:
        heads: number of heads, each with a part of q and k
    """

    supports_fused = True

    def __init__(self, query_size: int, key_size: int, *, heads: Count = 1) -> None:
        super().__init__(query_size, key_size, heads)
        self.require_equal_sizes()
