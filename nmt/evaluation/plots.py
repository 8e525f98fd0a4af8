"""Attention as figures: matrices between words, and overlays on the image of a caption.

Figures are drawn without pyplot, and no setting of matplotlib is changed. `nmt.evaluation.fonts`
chooses the fonts.
"""

from collections.abc import Iterable
from io import BytesIO
from math import ceil
from unicodedata import bidirectional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from PIL import Image

from nmt.data.token_corpus import Array
from nmt.evaluation.fonts import select_fonts
from nmt.evaluation.overlay import MIN_BRIGHTNESS, AttentionOverlay
from nmt.search.alignment import AttentionMatrix

DPI = 120
MARGIN_INCHES = 0.1
# Matrices. A cell is smaller than CELL_INCHES if the plot would be larger than MAX_INCHES.
CELL_INCHES = 0.3
MAX_INCHES = 60.0
POINTS_PER_INCH = 36  # font size per inch of a cell
MAX_LABEL_LENGTH = 40
# Overlays. A panel takes PANEL_FRACTION of its width including the margin.
PANEL_INCHES = 1.5
PANEL_FRACTION = 0.94
TITLE_INCHES = 0.3
PANEL_COLUMNS = 6
TITLE_POINTS = 11
MAX_TITLE_LENGTH = 16


class AttentionFigure(Figure):
    """A figure as large as its content, which a notebook shows without pyplot."""

    def enclose(self, inches: float) -> None:
        """Enlarge the figure to everything that is drawn, and a margin.

        Axes keep their size. A file then contains all labels, whatever its format.
        """
        renderer = FigureCanvasAgg(self).get_renderer()  # type: ignore[no-untyped-call]
        bounds = self.get_tightbbox(renderer).padded(inches)
        width, height = self.get_size_inches()
        placed = [(axes, axes.get_position(original=True)) for axes in self.axes]
        self.set_size_inches(bounds.width, bounds.height)
        for axes, box in placed:
            left = (box.x0 * width - bounds.x0) / bounds.width
            bottom = (box.y0 * height - bounds.y0) / bounds.height
            size = box.width * width / bounds.width, box.height * height / bounds.height
            axes.set_position((left, bottom, *size))

    def _repr_png_(self) -> bytes:
        data = BytesIO()
        self.savefig(data, format="png")
        return data.getvalue()


def plot_attention(attention: AttentionMatrix | AttentionOverlay) -> AttentionFigure:
    """Draw attention between words, or over an image; `savefig` writes PNG, SVG or PDF."""
    if isinstance(attention, AttentionOverlay):
        return plot_overlay(attention)
    return plot_matrix(attention)


def plot_matrix(attention: AttentionMatrix) -> AttentionFigure:
    """Draw an attention matrix; source on top, target on the left, 0 dark and 1 bright.

    The plot grows with the sentence. Labels of more than 40 characters are truncated.
    """
    source, target, weights_ts = attention
    assert tuple(weights_ts.shape) == (len(target), len(source))
    labels = [truncate(label, MAX_LABEL_LENGTH) for label in (*source, *target)]
    families, texts = select_fonts(labels)
    columns, rows = len(source), len(target)
    cell = min(CELL_INCHES, MAX_INCHES / max(columns, rows, 1))
    font = FontProperties(family=families, size=POINTS_PER_INCH * cell)

    # The axes fill a figure of the size of the cells; then the figure grows by the labels outside.
    figure = AttentionFigure(figsize=(cell * max(columns, 1), cell * max(rows, 1)), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    # Fixed limits, so that colors are comparable between sentences.
    image = axes.imshow(
        weights_ts.detach().float().cpu().numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto"
    )
    _draw_labels(axes, texts[:columns], texts[columns:], font)
    if is_right_to_left(source):
        axes.invert_xaxis()  # the order of the words on a line
    _draw_color_bar(figure, image)
    figure.enclose(MARGIN_INCHES)
    return figure


def plot_overlay(overlay: AttentionOverlay) -> AttentionFigure:
    """Draw an image, then one panel per word of its caption, bright where the word attends.

    As in figure 2 of Xu et al. 2015. A panel has the brightness of the image at the word's greatest
    weight, and is dark at weight 0.
    """
    families, texts = select_fonts([truncate(word, MAX_TITLE_LENGTH) for word in overlay.words])
    font = FontProperties(family=families, size=TITLE_POINTS)
    panels = [darken(overlay.image, weights_yz) for weights_yz in upsample_weights(overlay)]
    columns = min(len(panels) + 1, PANEL_COLUMNS)
    rows = ceil((len(panels) + 1) / columns)
    height, width, _ = overlay.image.shape
    panel_height = PANEL_INCHES * height / width + TITLE_INCHES
    size = PANEL_INCHES * columns, panel_height * rows
    figure = AttentionFigure(figsize=size, dpi=DPI)
    # The first panel is the image itself.
    titled = zip(["", *texts], [overlay.image, *panels], strict=True)
    for number, (text, panel) in enumerate(titled):
        row, column = divmod(number, columns)
        left, bottom = column / columns, 1 - (row + 1) / rows
        size = PANEL_FRACTION / columns, (1 - TITLE_INCHES / panel_height) / rows
        axes = figure.add_axes((left, bottom, *size))
        axes.imshow(panel)
        axes.set_axis_off()
        axes.set_title(text, font=font, pad=3, parse_math=False)
    figure.enclose(MARGIN_INCHES / 2)
    return figure


def upsample_weights(overlay: AttentionOverlay) -> list[Array]:
    """Interpolate the weights of each word to the pixels of the image, scaled to a maximum of 1."""
    height, width, _ = overlay.image.shape
    upsampled = []
    for weights_s in overlay.weights_ts.detach().float().cpu().numpy():
        grid = Image.fromarray(weights_s.reshape(overlay.grid))
        pixels_yz = np.asarray(grid.resize((width, height), Image.Resampling.BILINEAR))
        # The smallest positive number avoids 0 / 0 for a word without weights.
        upsampled.append(pixels_yz / max(float(pixels_yz.max()), np.finfo(np.float32).tiny))
    return upsampled


def darken(image: Array, weights_yz: Array) -> Array:
    """Multiply the brightness of an image by MIN_BRIGHTNESS at weight 0 up to 1 at weight 1."""
    brightness_yz1 = MIN_BRIGHTNESS + (1 - MIN_BRIGHTNESS) * weights_yz[:, :, None]
    darkened: Array = np.rint(image * brightness_yz1).astype(np.uint8)
    return darkened


def is_right_to_left(words: Iterable[str]) -> bool:
    """Return whether the first letter of a text is written from right to left."""
    directions = map(bidirectional, "".join(words))
    return next((one for one in directions if one in ("L", "R", "AL")), "L") != "L"


def truncate(label: str, length: int) -> str:
    """Truncate a label to this many characters, the last of which is then '…'."""
    return label if len(label) <= length else label[: length - 1] + "…"


def _draw_labels(axes: Axes, source: list[str], target: list[str], font: FontProperties) -> None:
    # parse_math=False, because a text with two dollar signs is not a formula.
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(source)), source, rotation=90, font=font, parse_math=False)
    axes.set_yticks(range(len(target)), target, font=font, parse_math=False)
    axes.tick_params(length=0)


def _draw_color_bar(figure: Figure, image: AxesImage) -> None:
    """Draw a color bar from 0 to 1 to the right of the cells, at most 1.5 inches high."""
    width, height = figure.get_size_inches()
    # In fractions of the figure: left, bottom, width and height, beyond its right edge.
    box = (1 + 0.2 / width, 0, 0.12 / width, min(1.0, 1.5 / height))
    bar = figure.colorbar(image, cax=figure.add_axes(box), ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=8)
