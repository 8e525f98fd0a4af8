"""Hooks: actions that training repeats, the updates they follow, and requests to stop."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from torch import Tensor

from nmt.data.loader import Position


class Update(NamedTuple):
    """One completed update; sums are over the batches of all ranks.

    Attributes:
        step: number of the update, from 1
        position: position of the next batch in the training data
        loss: sum of the training loss, with label smoothing, in nats
        nll: sum of -log p of the target tokens, in nats
        target_tokens: number of predicted tokens
        grad_norm: norm of the gradient before clipping
        started: value of `time.perf_counter` when the wait for the batches began
    """

    step: int
    position: Position
    loss: Tensor
    nll: Tensor
    target_tokens: int
    grad_norm: Tensor
    started: float = 0.0

    @property
    def ends_epoch(self) -> bool:
        """Return whether this was the last update of its epoch."""
        return self.position.batch == 0


@dataclass
class StopRequest:
    """Whether training ends after the current update, and why.

    A training run that is finished is validated and saved a last time. One that is interrupted is
    only saved, and continues when it is started again.

    Attributes:
        reason: the limit that was reached, in words; None if training is not finished
        is_interrupted: whether one of the ranks received a signal; the same on all ranks
        signal_received: whether this process received a signal; set by its signal handler
    """

    reason: str | None = None
    is_interrupted: bool = False
    signal_received: bool = False

    @property
    def is_requested(self) -> bool:
        """Return whether the current update is the last one of this process."""
        return self.reason is not None or self.is_interrupted

    def finish(self, reason: str) -> None:
        """Set the reason to end training; the first one is kept."""
        self.reason = self.reason or reason


class HookOrder(IntEnum):
    """Order in which hooks run after an update."""

    AVERAGE = 0  # before everything that uses averaged parameters
    STOP = 1  # before the hooks that also run after the last update
    LOG = 2
    VALIDATE = 3  # may request a stop, and may find a new best model
    CHECKPOINT = 4  # last, so that a checkpoint contains the results of all other hooks


class Hook(ABC):
    """An action that is repeated during training.

    Attributes:
        order: position among the hooks of an update
        every: interval in updates; None for the end of each epoch
    """

    order: ClassVar[HookOrder]
    every: int | None = 1

    def is_due(self, update: Update, stop: StopRequest) -> bool:
        """Return whether to run now: at the interval, and after the last update of training."""
        return stop.reason is not None or self.is_scheduled(update)

    def is_scheduled(self, update: Update) -> bool:
        """Return whether the interval of the hook ends with this update."""
        return update.ends_epoch if self.every is None else update.step % self.every == 0

    @abstractmethod
    def run(self, update: Update) -> None:
        """Run the action after an update."""
