"""When training stops: the end of its plan, or somebody's signal."""

import signal
from types import FrameType, TracebackType
from typing import Any

from nmt.training.trainer import Trainer, Update
from nmt.training.watch import Clock, Watch


class Ending:
    """Stops the trainer when the first of its limits is reached.

    Args:
        trainer: who is to stop
        clock: minutes of the run
        watch: how long validation has brought nothing better
        epochs, steps, minutes: the limits; None for no such limit
    """

    def __init__(
        self,
        trainer: Trainer,
        clock: Clock,
        watch: Watch,
        *,
        epochs: int | None,
        steps: int | None,
        minutes: float | None,
    ) -> None:
        self.trainer, self.clock, self.watch = trainer, clock, watch
        self.epochs, self.steps, self.minutes = epochs, steps, minutes

    def __call__(self, update: Update) -> None:
        self.trainer.stop(self.reached())

    def reached(self) -> str:
        """The limit that is reached, in words; empty for none. All ranks ask together."""
        if self.epochs is not None and self.trainer.position.epoch >= self.epochs:
            return f"{self.epochs} epochs"
        if self.steps is not None and self.trainer.step >= self.steps:
            return f"{self.steps} updates"
        # Clocks differ, and all ranks must take the same update for the last one.
        ranks = self.trainer.ranks
        if self.minutes is not None and ranks.any(self.clock.minutes >= self.minutes):
            return f"{self.minutes:g} minutes"
        if self.watch.exhausted:
            return f"{self.watch.waited} validations without a better {self.watch.metric}"
        return ""


class Signals:
    """While active, the first SIGINT or SIGTERM ends training after the update under way.

    It does so on whichever rank it comes to. A second one interrupts at once.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self.before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.trainer.asked:
            raise KeyboardInterrupt
        self.trainer.asked = True
