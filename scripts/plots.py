"""Plots of measurements: lines that are told apart without colour, each named at its end.

Drawn without pyplot, as `nmt.evaluation.plots` is, in the colours of Okabe and Ito (2008), which
stay apart for people who see fewer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRID = "#dddddd"
DPI = 120
NAME_HEIGHT = 0.055  # of a line's name, as a share of the y axis


class Line(NamedTuple):
    """One line of a plot.

    Attributes:
        name: stands at its end; lines of one name share a colour
        values: one for each place on the x axis, from the first on
        reference: figures to compare with: thin, dotted, without a name
    """

    name: str
    values: Sequence[float]
    reference: bool = False


def start_figure(panels: int, *, shared: bool = True) -> tuple[Figure, list[Axes]]:
    """An empty figure of panels side by side that share their y axis, or have one each."""
    figure = Figure(figsize=(1.2 + 5.2 * panels, 4.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, sharey=shared, squeeze=False)[0])
    for panel in axes:
        panel.grid(axis="y", color=GRID)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_lines(
    axes: Axes, places: Sequence[float], lines: Sequence[Line], limits: tuple[float, float]
) -> None:
    """Draw lines over the places on the x axis; y runs between the limits."""
    names = list(dict.fromkeys(line.name for line in lines))
    for line in lines:
        style = _style(names.index(line.name), line.reference)
        axes.plot(places[: len(line.values)], line.values, clip_on=False, **style)
    axes.set_ylim(*limits)
    own = [line for line in lines if not line.reference]
    gap = NAME_HEIGHT * (limits[1] - limits[0])
    for line, height in zip(own, spread([line.values[-1] for line in own], gap), strict=True):
        axes.annotate(
            line.name,
            (places[len(line.values) - 1], height),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=_style(names.index(line.name), False)["color"],
            annotation_clip=False,
        )


def _style(number: int, reference: bool) -> dict[str, Any]:
    look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)]}
    if reference:
        return look | {"linestyle": ":", "linewidth": 1.2}
    dashes = "-" if number < len(COLOURS) else "--"
    marker = MARKERS[number % len(MARKERS)]
    return look | {"linestyle": dashes, "marker": marker, "markersize": 5, "linewidth": 1.8}


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights, lowered where needed, so that any two are at least `gap` apart."""
    lowered = list(heights)
    above = float("inf")
    for place in sorted(range(len(heights)), key=lambda place: -heights[place]):
        above = lowered[place] = min(heights[place], above - gap)
    return lowered


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG."""
    figure.savefig(path, format="png", dpi=DPI)
