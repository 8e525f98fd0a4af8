"""Training that a program follows by callbacks, or drives by a loop of its own."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment
from nmt.distributed.process_group import ProcessGroup
from nmt.errors import UserError
from nmt.training.callback import Callback, check_callbacks
from nmt.training.hook import Update
from nmt.training.run import open_trainer
from nmt.training.trainer import Trainer
from tests.commands import reports, write_experiment
from tests.training.conftest import quick


class Recorder(Callback):
    """Records its calls, and ends training at an update."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.calls: list[tuple[Any, ...]] = []

    def on_update(self, trainer: Trainer, update: Update) -> None:
        self.calls.append(("update", update.step))
        if update.step == self.last:
            trainer.stop.finish("a callback")

    def on_report(
        self, trainer: Trainer, kind: str, step: int, values: Mapping[str, int | float]
    ) -> None:
        self.calls.append((kind, step, values["loss"]))


@pytest.fixture
def loaded(experiment: dict[str, Any], tmp_path: Path) -> Experiment:
    """An experiment of four updates with a report after each."""
    tree = quick(experiment, log_every=1, validate_every=2)
    return load_experiment(write_experiment(tmp_path / "tiny.yaml", tree)).experiment


def test_callback_sees_updates_and_reports_and_ends_training(
    loaded: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(last=3)
    options: dict[str, Any] = {"device": "cpu", "restart": False, "quiet": True}
    with open_trainer(loaded, tmp_path / "run", callbacks=[recorder], **options) as trainer:
        assert trainer.train().reason == "a callback"
    written = [(one["kind"], one["step"], one["loss"]) for one in reports(tmp_path / "run")]
    kinds = [(call[0], call[1]) for call in recorder.calls]
    assert kinds == [
        *(("update", 1), ("train", 1)),
        *(("update", 2), ("train", 2), ("valid", 2)),
        *(("update", 3), ("train", 3), ("valid", 3)),
    ]
    assert [call for call in recorder.calls if call[0] != "update"] == written
    assert (tmp_path / "run" / "checkpoints" / "3").is_dir()
    assert "finished after a callback" in (tmp_path / "run" / "train.log").read_text()
    assert capsys.readouterr() == ("", "")

    # The validation at the end was none of the schedule, so the continued run forgets it.
    with open_trainer(loaded, tmp_path / "run", **options) as trainer:
        steps = []
        for update in trainer.updates():
            trainer.run_hooks(update)
            steps.append(update.step)
    assert steps == [4]
    assert trainer.stop.reason == "4 updates"
    with open_trainer(loaded, tmp_path / "run", **options) as trainer:
        assert list(trainer.updates()) == []
        assert trainer.stop.reason == "4 updates"

    with open_trainer(loaded, tmp_path / "whole", **options) as trainer:
        trainer.train()
    one, other = (tmp_path / name / "checkpoints/4/model.safetensors" for name in ("run", "whole"))
    assert one.read_bytes() == other.read_bytes()
    assert reports(tmp_path / "run") == reports(tmp_path / "whole")


def test_callbacks_of_another_type_are_named() -> None:
    check_callbacks([Recorder(1)])
    with pytest.raises(UserError, match="got the class Recorder"):
        check_callbacks([Recorder(1), Recorder])
    with pytest.raises(UserError, match="got <built-in function print>"):
        check_callbacks([print])


@pytest.mark.parametrize("is_signaled", [True, False])
def test_a_lost_connection_after_a_signal_ends_the_process_silently(
    is_signaled: bool, loaded: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminations: list[bool] = []
    monkeypatch.setattr("nmt.training.run.terminate", lambda: terminations.append(True))

    def lose_connection() -> None:
        if is_signaled:
            signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("gloo: connection closed by peer")

    options: dict[str, Any] = {"device": "cpu", "restart": False, "quiet": True}
    with (
        pytest.raises(RuntimeError, match="gloo"),
        open_trainer(loaded, tmp_path / "run", **options),
    ):
        lose_connection()
    assert bool(terminations) == is_signaled


@pytest.mark.parametrize("is_first", [True, False])
def test_after_a_signal_only_the_first_rank_reports_an_error_that_all_have(
    is_first: bool, loaded: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminations: list[bool] = []
    monkeypatch.setattr("nmt.training.run.terminate", lambda: terminations.append(True))

    process_group = ProcessGroup()

    def diverge() -> None:
        process_group.is_first = is_first
        signal.raise_signal(signal.SIGTERM)
        raise UserError("the loss is nan")

    options: dict[str, Any] = {
        "device": "cpu",
        "restart": False,
        "quiet": True,
        "process_group": process_group,
    }
    with (
        pytest.raises(UserError, match="the loss is nan"),
        open_trainer(loaded, tmp_path / "run", **options),
    ):
        diverge()
    assert bool(terminations) != is_first
