"""Pictures of attention, drawn without pyplot and with no setting of matplotlib's changed.

Fonts and their order are told in `nmt.evaluation.fonts`.
"""

from collections.abc import Sequence
from os import PathLike

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from torch import Tensor

from nmt.evaluation.fonts import fit_fonts

DPI = 120
CELL = 0.3  # inches a word takes; less where the sentence would take more than LONGEST
LONGEST = 60.0  # inches
POINTS = 36  # size of the letters, in points an inch of a cell
LETTERS = 40  # of a label at most


def draw_attention(
    weights_ts: Float[Tensor, "t s"],
    source_labels: Sequence[str],
    target_labels: Sequence[str],
    path: str | PathLike[str],
    title: str | None = None,
) -> None:
    """Writes the weights as a PNG: source on top, target down the side, 0 dark and 1 bright.

    The picture grows with the sentence. There is a label a column and a row, end marks included
    where the weights have them; one of more than 40 letters is shortened, with '…' at its end.
    """
    assert tuple(weights_ts.shape) == (len(target_labels), len(source_labels))
    labels = [shorten(label, LETTERS) for label in (*source_labels, *target_labels)]
    families, texts = fit_fonts([*labels, title or ""])
    columns, rows = len(source_labels), len(target_labels)
    cell = min(CELL, LONGEST / max(columns, rows, 1))
    font = FontProperties(family=families, size=POINTS * cell)

    # The axes fill a figure of the cells' size; saved "tight", it grows by all that stands outside.
    figure = Figure(figsize=(cell * max(columns, 1), cell * max(rows, 1)))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    image = axes.imshow(
        weights_ts.detach().float().cpu().numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto"
    )
    _label(axes, texts[:columns], texts[columns:-1], texts[-1], font)
    _draw_bar(figure, image)
    figure.savefig(path, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.1)


def _label(
    axes: Axes, source: list[str], target: list[str], title: str, font: FontProperties
) -> None:
    # parse_math=False: two dollar signs in a text are no formula.
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(source)), source, rotation=90, font=font, parse_math=False)
    axes.set_yticks(range(len(target)), target, font=font, parse_math=False)
    axes.tick_params(length=0)
    if title:
        axes.set_title(title, font=font, pad=8, parse_math=False)


def _draw_bar(figure: Figure, image: AxesImage) -> None:
    """The bar from 0 to 1 right of the cells, at most 1.5 inches high."""
    width, height = figure.get_size_inches()
    box = (1 + 0.2 / width, 0, 0.12 / width, min(1.0, 1.5 / height))
    bar = figure.colorbar(image, cax=figure.add_axes(box), ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=8)


def shorten(label: str, letters: int) -> str:
    """The label, cut to so many letters with '…' at its end where it is longer."""
    return label if len(label) <= letters else label[: letters - 1] + "…"
