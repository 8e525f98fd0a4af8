"""Attention over the regions of an image, for plots and pages."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from nmt.data.token_corpus import Array

MIN_BRIGHTNESS = 0.15
"""Brightness of image regions with weight 0."""


class AttentionOverlay(NamedTuple):
    """Attention weights of the words of a caption over the regions of its image.

    Attributes:
        image: RGB bytes, (height, width, 3)
        grid: rows and columns of the regions
        words: words of the caption
        weights_ts: one row per word, one column per region in row-major order
    """

    image: Array
    grid: tuple[int, int]
    words: Sequence[str]
    weights_ts: Float[Tensor, "t s"]
