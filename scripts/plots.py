"""Line plots of measurements, distinguishable without color.

Drawn without pyplot, in the colors and markers of `nmt.evaluation.curves`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nmt.evaluation.curves import COLORS, MARKERS


class Line(NamedTuple):
    """One line of a plot.

    Attributes:
        name: entry of the legend; lines of one name share a color
        values: one per position on the x axis, from the first one on
        reference: whether the values are for comparison: thin, dotted, without an entry
    """

    name: str
    values: Sequence[float]
    reference: bool = False


def start_figure(panels: int) -> tuple[Figure, list[Axes]]:
    """Create a figure of panels side by side with a common y axis."""
    figure = Figure(figsize=(1.2 + 5.2 * panels, 4.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, sharey=True, squeeze=False)[0])
    for panel in axes:
        panel.grid(axis="y", color="#dddddd")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_lines(
    axes: Axes, x: Sequence[float], lines: Sequence[Line], limits: tuple[float, float]
) -> None:
    """Draw lines over the positions on the x axis, with y between the limits."""
    names = list(dict.fromkeys(line.name for line in lines))
    for line in lines:
        style = _style(names.index(line.name), line.reference)
        label = None if line.reference else line.name
        axes.plot(x[: len(line.values)], line.values, clip_on=False, label=label, **style)
    axes.set_ylim(*limits)
    axes.legend(frameon=False, fontsize="small", loc="lower right", handlelength=3.5)


def _style(number: int, reference: bool) -> dict[str, Any]:
    color = {"color": COLORS[number % len(COLORS)]}
    if reference:
        return {**color, "linestyle": ":", "linewidth": 1.2}
    dashes = "-" if number < len(COLORS) else "--"
    marker = MARKERS[number % len(MARKERS)]
    return {**color, "linestyle": dashes, "marker": marker, "markersize": 5, "linewidth": 1.8}


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG file."""
    figure.savefig(path, format="png", dpi=120)
