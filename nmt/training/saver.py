"""All that a run must keep to go on exactly where it stopped."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor

from nmt.data.stream import Position
from nmt.model.saved import (
    MODEL,
    TRAINING,
    Run,
    put_weights,
    read_state,
    read_tensors,
    whole_checkpoint,
)
from nmt.training.average import MovingAverage
from nmt.training.checkpoint import (
    optimizer_tensors,
    point,
    prune,
    random_states,
    restore_optimizer,
    restore_random_states,
    write_checkpoint,
)
from nmt.training.trainer import Trainer
from nmt.training.watch import Clock, Tally, Watch


class Saver:
    """Writes and restores the whole state of training.

    Args:
        run: where to
        trainer: model, optimizer, schedule, scaler and place in the epoch
        watch: the best validation so far
        clock: minutes of the run
        tally: what is not reported yet
        average: of the parameters, when there is one; it is then what translators load
        keep: checkpoints to keep beside the best
    """

    def __init__(
        self,
        run: Run,
        trainer: Trainer,
        watch: Watch,
        clock: Clock,
        tally: Tally,
        average: MovingAverage | None,
        keep: int,
    ) -> None:
        self.run, self.trainer, self.watch, self.clock = run, trainer, watch, clock
        self.tally, self.average, self.keep = tally, average, keep

    def translating(self) -> AbstractContextManager[None]:
        """The model with the parameters that translators load."""
        return nullcontext() if self.average is None else self.average.applied()

    def save(self) -> Path:
        """Write a checkpoint of this moment; the best link follows the watch."""
        trainer = self.trainer
        training = optimizer_tensors(trainer.optimizer) | random_states()
        if self.average is not None:
            # Copies: the parameters themselves hold the averages while the checkpoint is written.
            raw = trainer.model.named_parameters()
            training |= {f"raw.{name}": p.detach().clone() for name, p in raw}
        state: dict[str, Any] = {
            "step": trainer.step,
            "position": trainer.position._asdict(),
            "minutes": self.clock.minutes,
            "schedule": trainer.schedule.state(),
            "scaler": trainer.precision.state(),
            "watch": self.watch.state(),
            "tally": self.tally.state(),
        }
        with self.translating():
            folder = write_checkpoint(self.run, trainer.step, self._weights(), training, state)
        if self.watch.best_step == trainer.step:
            point(self.run, "best", trainer.step)
        prune(self.run, self.keep)
        return folder

    def restore(self) -> list[str]:
        """Go on from the last whole checkpoint; warnings about damaged ones."""
        trainer = self.trainer
        checkpoint, warnings = whole_checkpoint(self.run, "last")
        state, training = read_state(checkpoint), read_tensors(checkpoint / TRAINING)
        weights = read_tensors(checkpoint / MODEL)
        if self.average is not None:
            self.average.restore({name: weights[name] for name in self.average.shadow})
            raw = {k.removeprefix("raw."): t for k, t in training.items() if k.startswith("raw.")}
            weights |= raw
        put_weights(trainer.model, weights, str(checkpoint))
        restore_optimizer(trainer.optimizer, training)
        restore_random_states(training)
        trainer.step, trainer.position = state["step"], Position(**state["position"])
        trainer.schedule.restore(state["schedule"])
        trainer.precision.restore(state["scaler"])
        self.watch.restore(state["watch"])
        self.clock.restore(state["minutes"])
        self.tally.restore(state["tally"])
        return warnings

    def _weights(self) -> dict[str, Tensor]:
        model = self.trainer.model
        return dict(model.named_parameters()) | dict(model.named_buffers())
