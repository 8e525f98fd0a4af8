"""Stopping criteria: epochs, updates, minutes and early stopping."""

import re
import sys
import types
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest

from nmt.training.hook import Update
from nmt.training.trainer import Trainer
from tests.commands import nmt_train, reports, state_of, write_experiment
from tests.training.conftest import quick


@pytest.fixture(autouse=True)
def _update_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which every update takes a minute, and nothing else takes any time."""
    clock = [0.0]
    real = Trainer.update

    def minute(trainer: Trainer, group: Any) -> Update:
        clock[0] += 60
        return real(trainer, group)

    monkeypatch.setattr(Trainer, "update", minute)
    monkeypatch.setattr("nmt.training.limits.time.monotonic", lambda: clock[0])


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
) -> None:
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


def test_interrupted_schedule_over_minutes_continues_exactly(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = {"type": "cosine", "warmup": 0.25}
    tree = quick(experiment, steps=None, minutes=9.0, schedule=schedule, log_every=1)
    file = write_experiment(tmp_path / "a.yaml", tree)
    whole, continued = tmp_path / "whole", tmp_path / "continued"
    assert nmt_train(file, "--run", whole).code == 0
    real = Trainer.update

    def interrupted(trainer: Trainer, group: Any) -> Update:
        trainer.stop.signal_received = trainer.state.step == 4
        return real(trainer, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        assert nmt_train(file, "--run", continued).code == 130
    assert nmt_train(file, "--run", continued).code == 0
    weights = [run / "checkpoints" / "9" / "model.safetensors" for run in (whole, continued)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert reports(whole) == reports(continued)
    rates = [report["learning_rate"] for report in reports(whole) if report["kind"] == "train"]
    # The rate of an update is that of its minute, and a quarter of all minutes is the warm-up.
    shares = [(minute / 9 - 0.25) / 0.75 for minute in range(1, 10)]
    assert rates == pytest.approx(
        [0.01 * (1 + 3 * s if s < 0 else (1 + cos(pi * s)) / 2) for s in shares]
    )
    longer = nmt_train(file, "training.minutes=11", "--run", continued)
    assert "the schedule keeps its length of 9 minutes" in longer.err


def test_lines_by_time_add_nothing_to_the_reports(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(experiment, steps=None, epochs=2, minutes=60.0, log_every=4, log_seconds=1e-6)
    called = nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", tmp_path / "run")
    assert called.code == 0
    lines = [line for line in called.err.splitlines() if " update " in line and "rate" in line]
    assert [re.search(r"update (\d+),", line)[1] for line in lines] == list("123456")  # type: ignore[index]
    # Six updates of a minute, which is less than an hour.
    assert ", 5 min left" in lines[0]
    assert [one["step"] for one in reports(tmp_path / "run") if one["kind"] == "train"] == [4, 6]
    assert "updates/s" not in called.err


def test_progress_bar_is_shown_in_a_notebook(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    tree = quick(experiment, steps=2)
    called = nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", tmp_path / "run")
    assert "/2 [" in called.err
