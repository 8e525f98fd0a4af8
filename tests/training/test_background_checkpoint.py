"""Checkpoints are written by a thread while training goes on."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nmt.config.loader import load_experiment
from nmt.errors import UserError
from nmt.storage.checkpoint import write_checkpoint
from nmt.training import checkpointing
from nmt.training.hook import Update
from nmt.training.run import open_trainer
from nmt.training.trainer import Trainer
from tests.commands import nmt_train, state_of, write_experiment
from tests.training.conftest import quick

SECONDS = 60.0  # after which a test that waits in vain has failed


@pytest.fixture
def file(experiment: dict[str, Any], tmp_path: Path) -> Path:
    """An experiment of six updates with a checkpoint after every second one."""
    tree = quick(experiment, steps=6, save_every=2, validate_every=100, keep=10, ema=0.9)
    return write_experiment(tmp_path / "a.yaml", tree)


class Writer:
    """Stands for `write_checkpoint`, and waits or fails in the thread that calls it.

    Attributes:
        reached: whether the checkpoint of update 4 is being written
        released: whether it may be
        error: error to raise instead
        updates: number of updates that have begun
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: UserError | None = None) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        self.error, self.updates = error, 0
        monkeypatch.setattr(checkpointing, "write_checkpoint", self.write)
        real = Trainer.update

        def update(trainer: Trainer, batch: Any) -> Update:
            self.updates = trainer.state.step + 1
            self.before_update()
            return real(trainer, batch)

        monkeypatch.setattr(Trainer, "update", update)

    def write(self, run: Any, step: int, *rest: Any) -> Path:
        if step == 4:
            self.reached.set()
            if self.error is not None:
                raise self.error
            assert self.released.wait(SECONDS)
        return write_checkpoint(run, step, *rest)

    def before_update(self) -> None:
        if self.updates == 5:
            assert self.reached.wait(SECONDS)
            time.sleep(0.05 if self.error else 0.0)  # until the thread has ended
        if self.updates == 6:
            self.released.set()


def test_updates_do_not_wait_for_a_checkpoint_and_do_not_change_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nmt_train(file, "--run", tmp_path / "plain").code == 0
    writer = Writer(monkeypatch)
    called = nmt_train(file, "--run", tmp_path / "late")
    assert called.code == 0, called.err
    assert writer.released.is_set(), "update 6 began before the checkpoint of update 4 was written"
    for step in ("2", "4", "6"):
        one, other = (tmp_path / run / "checkpoints" / step for run in ("plain", "late"))
        for name in ("model.safetensors", "training.safetensors"):
            assert (one / name).read_bytes() == (other / name).read_bytes()
        assert state_of(one) == state_of(other)


def test_failed_checkpoint_ends_training_after_the_next_update(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(monkeypatch, UserError("the checkpoint cannot be written: full", "disk"))
    called = nmt_train(file, "--run", tmp_path / "run")
    assert called.code == 2
    assert called.complaint == "nmt-train: disk: the checkpoint cannot be written: full"
    assert writer.updates == 5
    assert (tmp_path / "run/checkpoints/last").resolve().name == "2"


def test_failed_checkpoint_is_a_warning_after_another_error(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(monkeypatch, UserError("the checkpoint cannot be written: full", "disk"))
    loaded, run = load_experiment(file).experiment, tmp_path / "run"

    def fail() -> None:
        with open_trainer(loaded, run, device="cpu", restart=False, quiet=True) as trainer:
            for update in trainer.updates():
                trainer.run_hooks(update)
                if update.step == 4:
                    assert writer.reached.wait(SECONDS)
                    raise RuntimeError("an error of the program")

    with pytest.raises(RuntimeError, match="of the program"):
        fail()
    log = (run / "train.log").read_text(encoding="utf-8")
    assert log.count("disk: the checkpoint cannot be written: full") == 1
