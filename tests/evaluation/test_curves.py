"""Learning curves: positions, marks, names and labels."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from nmt.errors import UserError
from nmt.evaluation.curves import RunCurves, plot_curves, read_curves

REPORTS = [
    {"kind": "train", "step": 10, "epoch": 1, "loss": 4.0, "minutes": 1.0},
    {"kind": "train", "step": 20, "epoch": 1, "loss": 3.0, "minutes": 3.0},
    {"kind": "valid", "step": 15, "loss": 3.5, "bleu": 5.0, "ter": 80.0, "aer": 31.0},
    {"kind": "valid", "step": 20, "loss": float("nan"), "bleu": 4.0, "ter": 90.0, "aer": 30.0},
    {"kind": "valid", "step": 30, "loss": 3.75, "bleu": None, "ter": True},
]


def _write(run: Path, reports: list[dict[str, Any]]) -> Path:
    run.mkdir(parents=True)
    text = "".join(json.dumps(report) + "\n" for report in reports)
    (run / "metrics.jsonl").write_text(text, encoding="utf-8")
    return run


def _marks(figure: Figure, panel: int) -> list[tuple[float, float]]:
    """Return the points that are marked as the best."""
    points = [np.asarray(line.get_xydata()) for line in figure.axes[panel].get_lines()]
    return [(float(xy[0, 0]), float(xy[0, 1])) for xy in points if len(xy) == 1]


def test_minutes_of_validations_are_interpolated_from_those_of_training() -> None:
    run = RunCurves("a", REPORTS)
    x, y = run.curve("valid", "bleu")
    assert (x.tolist(), y.tolist()) == ([15, 20], [5, 4])
    x, _ = run.curve("valid", "loss", "minutes")
    assert x.tolist() == [2, 3, 3]
    x, _ = run.curve("train", "loss", "minutes")
    assert x.tolist() == [1, 3]
    with pytest.raises(UserError, match="a: has no minutes"):
        RunCurves("a", REPORTS[2:]).curve("valid", "loss", "minutes")


def test_the_best_validation_is_the_lowest_loss_and_the_highest_score() -> None:
    settings = dict(matplotlib.rcParams)
    figure = plot_curves([RunCurves("a $x$ b", REPORTS)])
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss per target token (nats)",
        "BLEU",
        "TER",
        "alignment error rate (%)",
    ]
    best = [[(15, 3.5)], [(15, 5)], [(15, 80)], [(20, 30)]]
    assert [_marks(figure, panel) for panel in range(4)] == best
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["a $x$ b", "validation; filled: the best", "training"]
    assert not any(text.get_parse_math() for text in legend.get_texts())
    assert dict(matplotlib.rcParams) == settings


def test_runs_differ_by_color_and_marker_or_dashes() -> None:
    figure = plot_curves([RunCurves(str(number), REPORTS) for number in range(20)], ["bleu"])
    (axes,) = figure.axes
    styles = [
        (line.get_color(), line.get_linestyle(), line.get_marker())
        for line in axes.get_lines()
        if len(np.atleast_1d(line.get_xdata())) == 2
    ]
    assert len(set(styles)) == len(styles) == 20


def test_an_unknown_metric_is_reported_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="no run reports 'bluu'; did you mean 'bleu'"):
        plot_curves([RunCurves("a", REPORTS)], ["bluu"])


def test_runs_of_one_name_are_named_by_their_folders(tmp_path: Path) -> None:
    paths = [_write(tmp_path / name, REPORTS) for name in ("x/run", "y/run")]
    assert [run.name for run in read_curves(paths)] == ["x/run", "y/run"]
    assert [run.name for run in read_curves(paths[:1])] == ["run"]
    with pytest.raises(UserError, match=r"is not a run with reports: it has no metrics\.jsonl"):
        read_curves([tmp_path])
    (paths[0] / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="has no reports yet"):
        read_curves(paths)
