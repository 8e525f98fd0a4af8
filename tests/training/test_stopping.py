"""Stopping criteria: epochs, updates, minutes and early stopping."""

from pathlib import Path
from typing import Any

import pytest

from nmt.training.trainer import Trainer, Update
from tests.commands import nmt_train, reports, state_of, write_experiment
from tests.training.conftest import quick


@pytest.mark.parametrize(
    ("training", "step", "words"),
    [
        ({"steps": 4}, 4, "4 updates"),
        ({"steps": None, "epochs": 2}, 6, "2 epochs"),
        ({"steps": None, "minutes": 3.0}, 3, "3 minutes"),
        ({"steps": 2, "epochs": 9}, 2, "2 updates"),
        (
            {
                "validate_every": 1,
                "early_stopping": {"metric": "exact", "patience": 2},
                "optimizer": {"type": "sgd", "learning_rate": 1e-30},
            },
            3,
            "2 validations without a better exact or loss",
        ),
    ],
)
def test_training_stops_at_first_limit(
    training: dict[str, Any],
    step: int,
    words: str,
    experiment: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    real = Trainer.update

    def minute(trainer: Trainer, group: Any) -> Update:
        clock[0] += 60
        return real(trainer, group)

    monkeypatch.setattr(Trainer, "update", minute)
    monkeypatch.setattr("nmt.training.metrics_log.time.monotonic", lambda: clock[0])
    tree = quick(experiment, **training)
    tree["evaluation"]["metrics"] = ["exact"]
    run = tmp_path / "run"
    called = nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run)
    assert called.code == 0
    assert f"finished after {words}" in called.err
    assert state_of(run / "checkpoints" / "last")["step"] == step
    assert reports(run)[-1]["kind"] == "valid"
    again = nmt_train(tmp_path / "a.yaml", "--run", run)
    assert again.code == 0
    assert "nothing left to do" in again.err
