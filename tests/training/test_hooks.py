"""What comes when during training, and what is kept."""

import os
from pathlib import Path
from typing import Any

from tests.commands import nmt_train, reports, write_experiment
from tests.training.conftest import quick


def test_saving_validating_and_reporting_come_when_they_are_due(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(experiment, steps=7, validate_every=3, save_every=2, log_every=5, keep=10)
    run = tmp_path / "run"
    assert nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run).code == 0
    steps = {
        kind: [r["step"] for r in reports(run) if r["kind"] == kind] for kind in ("train", "valid")
    }
    assert steps == {"train": [5, 7], "valid": [3, 6, 7]}
    saved = {int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit()}
    assert saved >= {2, 4, 6, 7}
    assert saved - {2, 4, 6, 7} <= {3}  # the best so far
    assert not (run / "samples").exists()
    assert not (run / "attention").exists()


def test_the_best_checkpoint_outlives_newer_ones(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(experiment, steps=6, validate_every=1, keep=2)
    tree["training"]["early_stopping"] = {"metric": "exact"}
    tree["evaluation"]["metrics"] = ["exact"]  # stays 0, so the first is the best
    run = tmp_path / "run"
    assert nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run).code == 0
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"1", "5", "6", "best", "last"}
    assert os.readlink(run / "checkpoints" / "best") == "1"
