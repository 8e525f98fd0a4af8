"""All that a run must keep to go on exactly where it stopped."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
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

    def save(self) -> None:
        """Let the first rank write a checkpoint of this moment; the best link follows the watch."""
        self.trainer.settle()
        ranks = self.trainer.ranks
        random = ranks.gather(random_states(ranks.share.number))
        if ranks.first:
            self._write({name: state for states in random for name, state in states.items()})

    def _write(self, random: dict[str, Tensor]) -> None:
        trainer = self.trainer
        training = optimizer_tensors(trainer.optimizer) | random
        if self.average is not None:
            # Copies: the parameters themselves hold the averages while the checkpoint is written.
            raw = trainer.model.named_parameters()
            training |= {f"raw.{name}": p.detach().clone() for name, p in raw}
        state: dict[str, Any] = {
            "step": trainer.step,
            "ranks": trainer.ranks.count,
            "position": trainer.position._asdict(),
            "minutes": self.clock.minutes,
            "schedule": trainer.schedule.state(),
            "scaler": trainer.precision.state(),
            "watch": self.watch.state(),
            "tally": self.tally.state(),
        }
        with self.translating():
            write_checkpoint(self.run, trainer.step, self._weights(), training, state)
        if self.watch.best_step == trainer.step:
            point(self.run, "best", trainer.step)
        prune(self.run, self.keep)

    def restore(self) -> list[str]:
        """Go on from the last whole checkpoint; warnings about damaged ones."""
        trainer = self.trainer
        checkpoint, warnings = trainer.ranks.first_says(lambda: whole_checkpoint(self.run, "last"))
        state, training = read_state(checkpoint), read_tensors(checkpoint / TRAINING)
        weights = read_tensors(checkpoint / MODEL)
        if self.average is not None:
            self.average.restore({name: weights[name] for name in self.average.shadow})
            raw = {k.removeprefix("raw."): t for k, t in training.items() if k.startswith("raw.")}
            weights |= raw
        put_weights(trainer.model, weights, str(checkpoint))
        restore_optimizer(trainer.optimizer, training)
        warnings = [*warnings, *self._restore_random(state, training)]
        trainer.step, trainer.position = state["step"], Position(**state["position"])
        trainer.schedule.restore(state["schedule"])
        trainer.precision.restore(state["scaler"])
        self.watch.restore(state["watch"])
        self.clock.restore(state["minutes"])
        self.tally.restore(state["tally"])
        return warnings

    def _restore_random(self, state: dict[str, Any], training: dict[str, Tensor]) -> list[str]:
        ranks, wrote = self.trainer.ranks, state.get("ranks", 1)
        if wrote == ranks.count:
            restore_random_states(training, ranks.share.number)
            return []
        torch.manual_seed(torch.initial_seed() + state["step"])
        return [
            f"the last checkpoint is by {wrote} processes, and now there are {ranks.count}: no "
            f"text is left out or read twice, but from here on an update takes {ranks.count} times "
            "'accumulate' batches, and dropout is drawn anew"
        ]

    def _weights(self) -> dict[str, Tensor]:
        model = self.trainer.model
        return dict(model.named_parameters()) | dict(model.named_buffers())
