"""Order and intervals of the hooks, and the checkpoints that are kept."""

import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.config.loader import load_experiment
from nmt.data.loader import Position
from nmt.errors import UserError
from nmt.training.best_metric import BestMetricTracker
from nmt.training.checkpointing import Checkpointer
from nmt.training.datasets import prepare_datasets
from nmt.training.hook import Hook, HookOrder, StopRequest, Update
from nmt.training.hooks import SaveCheckpoint
from nmt.training.setup import build_trainer
from tests.commands import nmt_train, reports, write_experiment
from tests.training.conftest import quick


def _update(step: int, *, ends_epoch: bool = False) -> Update:
    position = Position(1, 0) if ends_epoch else Position(0, step)
    return Update(step, position, torch.zeros(()), torch.zeros(()), 1, torch.zeros(()))


class _Recorder(Hook):
    """Appends its order to a list."""

    def __init__(self, order: HookOrder, calls: list[HookOrder]) -> None:
        self.order, self._calls = order, calls  # type: ignore[misc]

    def run(self, update: Update) -> None:
        self._calls.append(self.order)


def test_hooks_run_in_their_declared_order(experiment: dict[str, Any], tmp_path: Path) -> None:
    loaded = load_experiment(write_experiment(tmp_path / "a.yaml", experiment)).experiment
    trainer = build_trainer(loaded, prepare_datasets(loaded, None), torch.device("cpu"))
    calls: list[HookOrder] = []
    trainer.add_hooks(_Recorder(order, calls) for order in reversed(HookOrder))
    trainer.stop.signal_received = True  # stops after the first update
    assert trainer.train() == StopRequest(None, is_interrupted=True, signal_received=True)
    assert calls == list(HookOrder)


@pytest.mark.parametrize(
    ("every", "update", "stop", "due"),
    [
        (3, _update(6), StopRequest(), True),
        (3, _update(7), StopRequest(), False),
        (3, _update(7, ends_epoch=True), StopRequest(), False),
        (None, _update(7, ends_epoch=True), StopRequest(), True),
        (None, _update(7), StopRequest(), False),
        (3, _update(7), StopRequest("7 updates"), True),
        (3, _update(7), StopRequest(is_interrupted=True), False),
    ],
)
def test_hook_is_due_at_its_interval_and_at_the_end(
    every: int | None, update: Update, stop: StopRequest, due: bool
) -> None:
    hook = _Recorder(HookOrder.LOG, [])
    hook.every = every
    assert hook.is_due(update, stop) == due


def test_checkpoint_is_due_for_best_model_interrupt_and_failure() -> None:
    best = BestMetricTracker(["loss"], None)
    checkpointer = Checkpointer.__new__(Checkpointer)  # nothing is saved
    checkpointer._writing = None
    hook = SaveCheckpoint(checkpointer, best, 100)
    assert not hook.is_due(_update(7), StopRequest())
    assert hook.is_due(_update(7), StopRequest(is_interrupted=True))
    best.update(7, {"loss": 1.5})
    assert hook.is_due(_update(7), StopRequest())
    assert not hook.is_due(_update(8), StopRequest())
    checkpointer._writing = Future()
    assert not hook.is_due(_update(8), StopRequest())
    checkpointer._writing.set_exception(UserError("full"))
    assert hook.is_due(_update(8), StopRequest())


def test_first_stop_reason_is_kept() -> None:
    stop = StopRequest()
    assert not stop.is_requested
    stop.finish("2 epochs")
    stop.finish("10 updates")
    assert stop.is_requested
    assert stop.reason == "2 epochs"


def test_hooks_run_at_their_intervals(experiment: dict[str, Any], tmp_path: Path) -> None:
    tree = quick(experiment, steps=7, validate_every=3, save_every=2, log_every=5, keep=10)
    run = tmp_path / "run"
    assert nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run).code == 0
    steps = {
        kind: [r["step"] for r in reports(run) if r["kind"] == kind] for kind in ("train", "valid")
    }
    assert steps == {"train": [5, 7], "valid": [3, 6, 7]}
    saved = {int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit()}
    assert saved >= {2, 4, 6, 7}
    assert saved - {2, 4, 6, 7} <= {3}  # the best until then
    assert not (run / "samples").exists()
    assert not (run / "attention").exists()


def test_best_checkpoint_is_not_pruned(experiment: dict[str, Any], tmp_path: Path) -> None:
    tree = quick(experiment, steps=6, validate_every=1, keep=2)
    # The metric is always 0 and the loss never changes, so the first one is the best.
    tree["training"]["early_stopping"] = {"metric": "exact"}
    tree["training"]["optimizer"] = {"type": "sgd", "learning_rate": 1e-30}
    tree["evaluation"]["metrics"] = ["exact"]
    run = tmp_path / "run"
    assert nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run).code == 0
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"1", "5", "6", "best", "last"}
    assert os.readlink(run / "checkpoints" / "best") == "1"
