"""Learning curves of runs as a figure."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import get_args

from nmt.api.run import Run
from nmt.errors import UserError
from nmt.evaluation.curves import Axis, CurvesFigure, plot_curves, read_curves


def plot(
    runs: Iterable[Run | str | PathLike[str]],
    metrics: Sequence[str] | None = None,
    x: str = "updates",
) -> CurvesFigure:
    """Draw the learning curves of several runs in one figure; the options are those of `Run.plot`.

    Raises:
        UserError: no run reports one of the metrics, or a directory is not a run
    """
    paths = [run.path if isinstance(run, Run) else Path(run) for run in runs]
    if not paths:
        raise UserError("no run is given; name at least one")
    axes: tuple[Axis, ...] = get_args(Axis)
    for axis in axes:
        if axis == x:
            return plot_curves(read_curves(paths), metrics, axis)
    raise UserError(f"x: must be one of {', '.join(axes)}, got {x!r}")
