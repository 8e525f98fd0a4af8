"""Figures of a comparison: scores, learning curves, score by length, and attention.

Legends name the lines, and ties remain visible: every system has a row of its own in the scores,
and lines that coincide differ by their widths and markers.
"""

from collections.abc import Iterator
from math import ceil
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from nmt.comparison.buckets import Buckets
from nmt.comparison.measurement import Matrix
from nmt.comparison.results import Results
from nmt.comparison.tables import NAMES
from nmt.errors import UserError
from nmt.evaluation.curves import (
    LEGEND_COLUMNS,
    LEGEND_INCHES,
    RunCurves,
    draw_legend,
    line_style,
    plot_curves,
    read_curves,
    write_figure,
)
from nmt.evaluation.fonts import select_fonts
from nmt.evaluation.metrics import METRICS

ROW_INCHES = 0.32
CELL_INCHES, MAX_CELLS = 0.2, 60
ATTENTION_COLUMNS = 3
GRAY = "#555555"


def write_figures(results: Results, folder: Path, lengths: Buckets | None) -> Iterator[Path]:
    """Write all figures as PNG and PDF, and yield the PNG files."""
    figures = {
        "scores": plot_scores(results),
        "curves": plot_learning(results),
        "attention": plot_attention(results),
        "lengths": None if lengths is None else plot_buckets(lengths),
    }
    for name, figure in figures.items():
        if figure is None:
            continue
        for kind in ("pdf", "png"):
            write_figure(figure, folder / f"{name}.{kind}")
        yield folder / f"{name}.png"


def plot_scores(results: Results) -> Figure:
    """Draw one row per system: a circle per seed, the mean, and its 95 % confidence interval.

    The dashed line is the mean of the baseline.
    """
    rows, metrics = len(results.systems), results.metrics
    size = (1.6 + 3.2 * len(metrics), 1.0 + ROW_INCHES * rows)
    figure = _figure(size)
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for panel, metric in zip(panels, metrics, strict=True):
        for row, result in enumerate(results.systems):
            scores = result.scores[metric]
            panel.plot(scores.interval, [row, row], color="#0072B2", linewidth=1.5, alpha=0.5)
            # Circles of equal scores are next to each other.
            count = len(scores.scores)
            rows_of_seeds = [row + 0.5 * ((i + 0.5) / count - 0.5) for i in range(count)]
            panel.plot(scores.scores, rows_of_seeds, "o", color="#0072B2", mfc="none", markersize=5)
            panel.plot(scores.mean, row, "D", color="#D55E00", markersize=5, zorder=4)
            if result.name == results.baseline:
                panel.axvline(scores.mean, color=GRAY, linestyle="--", linewidth=0.8, zorder=0)
        panel.set_xlabel(NAMES[metric] + " (%)" * (metric == "exact"))
        panel.grid(axis="x", color="#dddddd")
        panel.set_axisbelow(True)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    families, texts = select_fonts([result.name for result in results.systems])
    font = FontProperties(family=families, size=10)
    panels[0].set_yticks(range(rows), texts, font=font, parse_math=False)
    panels[0].set_ylim(rows - 0.5, -0.5)
    return figure


def plot_learning(results: Results) -> Figure | None:
    """Draw the learning curves of all runs; those of one system have the same line."""
    curves = []
    for result in results.systems:
        try:
            read = read_curves([one.path for one in result.measurements])
        except UserError:  # a copy of a run may lack its reports
            continue
        curves += [RunCurves(result.name, run.reports) for run in read]
    reported = set().union(*(run.metrics() for run in curves))
    wanted = [name for name in ("loss", *METRICS) if name in reported]
    return plot_curves(curves, wanted) if wanted else None


def plot_buckets(buckets: Buckets) -> Figure:
    """Draw one line per system over the buckets."""
    count = len(buckets.scores)
    legend = LEGEND_INCHES * ceil(count / LEGEND_COLUMNS)
    figure = _figure((max(5.0, 0.85 * len(buckets.labels)), 3.4 + legend))
    axes = figure.add_subplot()
    positions = range(len(buckets.labels))
    for number, values in enumerate(buckets.scores.values()):
        line, marker = line_style(number)
        # Lines that coincide are visible below each other: the first one is the widest.
        line |= {"linewidth": 1.5 + 3 * (count - 1 - number) / count, "markersize": 6}
        axes.plot(positions, values, **line, marker=marker, mfc="none")
    ticks = [f"{a}\n{b:,}" for a, b in zip(buckets.labels, buckets.sizes, strict=True)]
    axes.set_xticks(positions, ticks, fontsize="small")
    axes.set_xlabel(f"{buckets.quantity}, and number of lines")
    axes.set_ylabel(NAMES.get(buckets.measure, buckets.measure))
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    draw_legend(figure, list(buckets.scores))
    return figure


def plot_attention(results: Results) -> Figure | None:
    """Draw the attention of one sentence under each system that has it, with its first seed.

    None if no system has attention.
    """
    attending = {r.name: r.measurements[0].attention for r in results.systems}
    drawn = {name: matrix for name, matrix in attending.items() if matrix is not None}
    if not drawn:
        return None
    matrices = list(drawn.values())
    columns = min(ATTENTION_COLUMNS, len(drawn))
    rows = ceil(len(drawn) / columns)
    # Room for the labels and the titles, and cells of one size in all panels.
    width = CELL_INCHES * max(min(len(one.source), MAX_CELLS) for one in matrices) + 1.3
    height = CELL_INCHES * max(min(len(one.target), MAX_CELLS) for one in matrices) + 1.3
    figure = _figure((columns * width, rows * height))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    families, titles = select_fonts(list(drawn))
    font = FontProperties(family=families, size=10)
    for panel, title, matrix in zip(panels, titles, matrices, strict=False):
        panel.set_title(title, font=font, parse_math=False)
        _draw_matrix(panel, matrix)
    for panel in panels[len(drawn) :]:
        panel.set_axis_off()
    return figure


def _draw_matrix(panel: Axes, matrix: Matrix) -> None:
    labels = [*matrix.source, *matrix.target]
    families, texts = select_fonts(labels)
    font = FontProperties(family=families, size=8)
    # Fixed limits, so that colors are comparable between systems.
    panel.imshow(matrix.weights, cmap="viridis", vmin=0, vmax=1, aspect="equal")
    panel.xaxis.tick_top()
    count = len(matrix.source)
    panel.set_xticks(range(count), texts[:count], rotation=90, font=font, parse_math=False)
    panel.set_yticks(range(len(matrix.target)), texts[count:], font=font, parse_math=False)
    panel.tick_params(length=0)


def _figure(size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure
