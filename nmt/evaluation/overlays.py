"""Attention laid over the picture that a caption tells of, as in figure 2 of Xu et al. 2015."""

from collections.abc import Sequence
from math import ceil
from os import PathLike
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image
from torch import Tensor

from nmt.data.encoded import Array
from nmt.evaluation.fonts import fit_fonts
from nmt.evaluation.pictures import shorten

DPI = 120
PANEL = 1.5  # inches, the width of a panel with its margin
SHARE = 0.94  # of that, the panel
TITLE = 0.3  # inches above a panel
COLUMNS = 6
POINTS = 11
LETTERS = 16  # of a word at most
DARK = 0.15  # brightness of what is not looked at


class Overlay(NamedTuple):
    """A caption's words, and where in the picture each was read.

    Attributes:
        picture: (height, width, 3) bytes of red, green and blue
        grid: rows and columns of the weights
        words: of the caption
        weights_ts: a row a word, the places of the grid row by row
    """

    picture: Array
    grid: tuple[int, int]
    words: Sequence[str]
    weights_ts: Float[Tensor, "t s"]


def draw_overlay(overlay: Overlay, path: str | PathLike[str]) -> None:
    """Writes a PNG: the picture, then a panel a word, bright where the model looked for it.

    A panel has the picture's own brightness where its weight is greatest, and is dark where there
    is none.
    """
    families, texts = fit_fonts([shorten(word, LETTERS) for word in overlay.words])
    font = FontProperties(family=families, size=POINTS)
    lit = [light(overlay.picture, weights_yx) for weights_yx in spread(overlay)]
    columns = min(len(lit) + 1, COLUMNS)
    rows = ceil((len(lit) + 1) / columns)
    height, width, _ = overlay.picture.shape
    tall = PANEL * height / width + TITLE
    figure = Figure(figsize=(PANEL * columns, tall * rows))
    FigureCanvasAgg(figure)
    for number, (text, shown) in enumerate(zip(["", *texts], [overlay.picture, *lit], strict=True)):
        row, column = divmod(number, columns)
        box = (column / columns, 1 - (row + 1) / rows, SHARE / columns, (1 - TITLE / tall) / rows)
        axes = figure.add_axes(box)
        axes.imshow(shown)
        axes.set_axis_off()
        axes.set_title(text, font=font, pad=3, parse_math=False)
    figure.savefig(path, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.05)


def spread(overlay: Overlay) -> list[Array]:
    """Each word's weights smoothly over the pixels of the picture, from 0 to 1 at the greatest."""
    height, width, _ = overlay.picture.shape
    found = []
    for weights_s in overlay.weights_ts.detach().float().cpu().numpy():
        grid = Image.fromarray(weights_s.reshape(overlay.grid))
        wide = np.asarray(grid.resize((width, height), Image.Resampling.BILINEAR))
        found.append(wide / max(float(wide.max()), np.finfo(np.float32).tiny))
    return found


def light(picture: Array, weights_yx: Array) -> Array:
    """The picture, its brightness multiplied by DARK at weight 0 and left alone at weight 1."""
    shares_yx1 = DARK + (1 - DARK) * weights_yx[:, :, None]
    lit: Array = np.rint(picture * shares_yx1).astype(np.uint8)
    return lit
