"""Dot product score."""

from nmt.model.attention.score import BilinearScore
from nmt.registry import SCORES


@SCORES.register("dot")
class DotScore(BilinearScore):
    """Dot product score, q·k, for q and k of equal width. Luong et al. 2015, section 3.1, "dot"."""

    supports_fused = True

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.require_equal_sizes()
