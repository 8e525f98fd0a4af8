"""Learning curves of runs as a figure."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import get_args

from nmt.api.run import Run
from nmt.errors import UserError
from nmt.evaluation.curves import Axis, CurvesFigure, plot_curves, read_curves


def plot(
    runs: Run | str | PathLike[str] | Iterable[Run | str | PathLike[str]],
    metrics: str | Sequence[str] | None = None,
    x: str = "updates",
) -> CurvesFigure:
    """Draw the learning curves of one or several runs in one figure, as nmt-plot does.

    Args:
        runs: runs, or their directories
        metrics: names of reported values (default: the loss and the scores of validations)
        x: horizontal axis, updates or minutes

    Raises:
        UserError: no run reports one of the metrics, or a directory is not a run
    """
    several = [runs] if isinstance(runs, Run | str | PathLike) else runs
    paths = [run.path if isinstance(run, Run) else Path(run) for run in several]
    if not paths:
        raise UserError("no run is given; name at least one")
    metrics = [metrics] if isinstance(metrics, str) else metrics
    axes: tuple[Axis, ...] = get_args(Axis)
    for axis in axes:
        if axis == x:
            return plot_curves(read_curves(paths), metrics, axis)
    raise UserError(f"x: must be one of {', '.join(axes)}, got {x!r}")
