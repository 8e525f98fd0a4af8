"""Learning curves of runs, drawn from the reports in their `metrics.jsonl`.

Drawn without pyplot, in the colors of Okabe and Ito (2008), which remain distinct under color
vision deficiency. Runs also differ by their markers.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from os.path import commonpath
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nmt.errors import UserError, suggest
from nmt.evaluation.fonts import select_fonts
from nmt.evaluation.metrics import MEASURED, METRICS, higher_is_better
from nmt.files import exists
from nmt.storage.atomic import file_errors, replace_bytes
from nmt.storage.reports import read_reports
from nmt.storage.run_dir import RunDir

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
PANEL_INCHES = (4.8, 3.4)
LEGEND_INCHES = 0.25  # per line
PANEL_COLUMNS, LEGEND_COLUMNS = 3, 3
MAX_NAME_LENGTH = 40
DPI = 150

Axis = Literal["updates", "minutes"]
LABELS = {
    "loss": "loss per target token (nats)",
    "perplexity": "perplexity per target token",
    "bleu": "BLEU",
    "chrf": "chrF",
    "ter": "TER",
    "exact": "exact matches (%)",
    "aer": "alignment error rate (%)",
    "attention_entropy": "entropy of attention (nats)",
    "learning_rate": "learning rate",
    "gradient_norm": "norm of the gradient",
    "target_tokens_per_second": "target tokens per second",
    "gpu_memory_gib": "GPU memory (GiB)",
    "gpu_utilization": "GPU utilization (%)",
    "updates": "updates",
    "minutes": "minutes of training",
}


class CurvesFigure(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        data = BytesIO()
        self.savefig(data, format="png")
        return data.getvalue()


def write_figure(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix of the file.

    Raises:
        UserError: if the file cannot be written
    """
    data = BytesIO()
    kind = file.suffix.lower().removeprefix(".")
    # Without the time and random names, so that equal figures are equal files.
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with rc_context({"svg.hashsalt": "nmt-plot"}):
        figure.savefig(data, format=kind, dpi=DPI, metadata=metadata)
    replace_bytes(file, data.getvalue())


@dataclass(frozen=True)
class RunCurves:
    """The reports of a run.

    Attributes:
        name: entry of the legend; runs of the same name, such as those of several seeds, share it
        reports: reports in the order of training
    """

    name: str
    reports: Sequence[Mapping[str, Any]]

    def metrics(self) -> set[str]:
        """Return the names of all values but the axes."""
        names = {name for report in self.reports for name in report}
        return names - {"kind", "step", "epoch", "minutes"}

    def curve(self, kind: str, metric: str, axis: Axis = "updates") -> tuple[Any, Any]:
        """Return the positions and the values of a metric as arrays.

        Args:
            kind: reports of "train" or "valid"
            metric: name of the values
            axis: position in updates, or in minutes of training; only reports of training contain
                the minutes, so those of validations are interpolated
        """
        found = [r for r in self.reports if r.get("kind") == kind and _is_number(r.get(metric))]
        x = np.array([report["step"] for report in found], dtype=float)
        y = np.array([report[metric] for report in found], dtype=float)
        if axis == "minutes" and len(x):
            timed = [r for r in self.reports if _is_number(r.get("minutes"))]
            if not timed:
                raise UserError("has no minutes; use updates", self.name)
            steps, minutes = ([r[key] for r in timed] for key in ("step", "minutes"))
            x = np.interp(x, [0, *steps], [0, *minutes])
        return x, y


def read_curves(runs: Iterable[Path]) -> list[RunCurves]:
    """Read the reports of runs; their names are the parts of their paths that differ.

    Raises:
        UserError: if a directory is no run, or a run has no reports yet
    """
    paths = list(runs)
    curves = []
    for path, name in zip(paths, _distinct_names([p.absolute() for p in paths]), strict=True):
        file = RunDir(path).metrics
        if not exists(file):
            raise UserError(f"is not a run with reports: it has no {file.name}", str(path))
        with file_errors(file, "cannot be read"):
            reports, _ = read_reports(file.read_bytes())
        if not reports:
            raise UserError("has no reports yet; wait for the first one", str(file))
        curves.append(RunCurves(name, [report for report, _ in reports]))
    return curves


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the last part of each path, or the paths below their common folder if these repeat."""
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    common = commonpath([path.parent for path in paths])
    return [str(path.relative_to(common)) for path in paths]


def plot_curves(
    runs: Sequence[RunCurves], metrics: Sequence[str] | None = None, axis: Axis = "updates"
) -> CurvesFigure:
    """Draw one panel per metric, with a curve of each run.

    Validations are lines with markers, of which the filled one is the best; training is a thin
    line.

    Args:
        runs: the runs
        metrics: names of reported values (default: the loss and the scores of validations)
        axis: horizontal axis

    Raises:
        UserError: if no run reports one of the metrics
    """
    known = sorted(set().union(*(run.metrics() for run in runs)))
    for name in metrics or ():
        if name not in known:
            raise UserError(f"no run reports '{name}'; {suggest(name, known)}")
    metrics = metrics or [n for n in ("loss", *METRICS, "aer") if n in known]
    if not metrics:
        raise UserError(f"no run reports a loss or a score; reported are {', '.join(known)}")
    names = list(dict.fromkeys(run.name for run in runs))
    rows, legend_rows = ceil(len(metrics) / PANEL_COLUMNS), ceil((len(names) + 2) / LEGEND_COLUMNS)
    columns = ceil(len(metrics) / rows)  # four panels are two rows of two
    size = (columns * PANEL_INCHES[0], rows * PANEL_INCHES[1] + legend_rows * LEGEND_INCHES)
    figure = CurvesFigure(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    kinds = set[str]()
    for panel, name in zip(panels[: len(metrics)], metrics, strict=True):
        for run in runs:
            kinds |= _draw(panel, run, name, axis, names.index(run.name))
        _style(panel, name, axis)
    for panel in panels[len(metrics) :]:  # the rest of the last row
        panel.set_axis_off()
    draw_legend(figure, names, kinds)
    return figure


def _draw(panel: Axes, run: RunCurves, metric: str, axis: Axis, number: int) -> set[str]:
    """Draw both curves of a run, and return the kinds that it has."""
    line, marker = line_style(number)
    x, y = run.curve("train", metric, axis)
    kinds = {"train"} if len(x) else set[str]()
    panel.plot(x, y, **line, linewidth=0.9, alpha=0.6)
    x, y = run.curve("valid", metric, axis)
    if not len(x):
        return kinds
    panel.plot(x, y, **line, linewidth=1.8, marker=marker, markersize=4, mfc="white", zorder=3)
    finite = np.flatnonzero(np.isfinite(y))
    if metric in MEASURED and len(finite):
        sign = 1 if higher_is_better(metric) else -1
        best = finite[np.argmax(sign * y[finite])]
        panel.plot(x[best], y[best], **line, marker=marker, markersize=8, zorder=4)
    return kinds | {"valid"}


def line_style(number: int) -> tuple[dict[str, Any], str]:
    """Return color and dashes of the line of this number, and its marker."""
    dash = DASHES[number // len(COLORS) % len(DASHES)]
    line = {"color": COLORS[number % len(COLORS)], "linestyle": dash}
    return line, MARKERS[number % len(MARKERS)]


def _style(panel: Axes, metric: str, axis: Axis) -> None:
    panel.set_xlabel(LABELS[axis])
    if axis == "updates":
        # As matplotlib's own, but without fractions of an update.
        panel.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    panel.set_ylabel(LABELS.get(metric, metric))
    panel.grid(axis="y", color="#dddddd")
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.02)


def draw_legend(figure: Figure, names: Sequence[str], kinds: Collection[str] = ()) -> None:
    """Draw a legend of the runs, and of the kinds of lines if the figure has both."""
    shortened = [n if len(n) <= MAX_NAME_LENGTH else f"…{n[1 - MAX_NAME_LENGTH :]}" for n in names]
    families, texts = select_fonts(shortened)
    handles = []
    for number in range(len(names)):
        line, marker = line_style(number)
        handles.append(Line2D([], [], **line, marker=marker, markersize=5))
    if set(kinds) == {"train", "valid"}:
        gray: dict[str, Any] = {"color": "#555555"}
        handles += [
            Line2D([], [], **gray, linewidth=1.8, marker="o", markersize=4, mfc="white"),
            Line2D([], [], **gray, linewidth=0.9, alpha=0.6),
        ]
        texts += ["validation; filled: the best", "training"]
    legend = figure.legend(
        handles,
        texts,
        loc="outside lower center",
        ncols=min(len(handles), LEGEND_COLUMNS),
        frameon=False,
        prop=FontProperties(family=families, size=9),
        handlelength=3,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name with two dollar signs is not a formula


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
