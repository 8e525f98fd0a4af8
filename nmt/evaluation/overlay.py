"""Attention over the regions of an image, for plots and reports."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from nmt.data.images import NotAnImageError, read_rgb
from nmt.data.token_corpus import Array

REGION_PIXELS = 32  # side of a region of a feature map, which has no image to draw on

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


def read_image(file: Path, grid: tuple[int, int]) -> Array:
    """Read an image; return a white one if the file is a feature map of `grid` regions."""
    try:
        return read_rgb(file)
    except NotAnImageError:
        rows, columns = grid
        return np.full((REGION_PIXELS * rows, REGION_PIXELS * columns, 3), 255, np.uint8)
