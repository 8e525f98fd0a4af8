"""Limits of training: which comes first, the share that is done, and the minutes that are left."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from nmt.storage.atomic import JsonObject


class Limits(NamedTuple):
    """Limits of training; the first one that is reached ends it.

    Attributes:
        epochs: passes over the training text; None for no limit
        steps: updates; None for no limit
        minutes: minutes of training, validation included; None for no limit
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None

    def __str__(self) -> str:
        named = (self.epochs, "epochs"), (self.steps, "updates"), (self.minutes, "minutes")
        return " or ".join(f"{limit:g} {unit}" for limit, unit in named if limit is not None)


class Timer:
    """Duration of training, including the time before an interruption."""

    def __init__(self) -> None:
        self._earlier, self._started = 0.0, time.monotonic()

    @property
    def minutes(self) -> float:
        """Return the minutes of training so far."""
        return self._earlier + (time.monotonic() - self._started) / 60

    def restart(self, minutes: float) -> None:
        """Start again from the minutes of a checkpoint."""
        self._earlier, self._started = minutes, time.monotonic()


class TrainingLength:
    """Share of a training that is done, by the limit that comes first.

    Args:
        limits: the limits of the training
        updates_per_epoch: returns the number of updates of an epoch; called once, if needed
        minutes: returns the minutes of training so far, the same on all ranks; called only if
            they are limited
    """

    def __init__(
        self,
        limits: Limits,
        updates_per_epoch: Callable[[], int],
        minutes: Callable[[], float],
    ) -> None:
        self.limits = limits
        self._count_updates, self._minutes = updates_per_epoch, minutes

    @cached_property
    def _updates_per_epoch(self) -> int:
        return self._count_updates()

    @property
    def updates(self) -> int | None:
        """Return the number of updates of the whole training; None if only minutes limit it."""
        limits = [] if self.limits.steps is None else [self.limits.steps]
        if self.limits.epochs is not None:
            limits.append(self.limits.epochs * self._updates_per_epoch)
        return min(limits, default=None)

    def done(self, step: int, warmup: int = 0) -> float:
        """Return the share that is done at update `step`, from 0 to 1.

        Args:
            step: number of the update, from 1
            warmup: first updates, which do not count
        """
        share = 0.0
        if (updates := self.updates) is not None:
            share = (step - warmup) / max(1, updates - warmup)
        if self.limits.minutes is not None:
            share = max(share, self._minutes() / self.limits.minutes)
        return min(1.0, max(0.0, share))

    def state_dict(self) -> JsonObject:
        """Return the limits as JSON values."""
        return self.limits._asdict()

    def load_state_dict(self, state: JsonObject) -> None:
        """Restore the limits from `state_dict`."""
        self.limits = Limits(**state)


class RemainingTime:
    """Estimate of the time until training ends, from the updates of this process so far.

    Args:
        length: length of the training
        step: number of completed updates
        minutes: minutes of training so far
    """

    def __init__(self, length: TrainingLength, step: int, minutes: float) -> None:
        self._length, self._first_step, self._first_minutes = length, step, minutes

    def minutes(self, step: int, minutes: float) -> float:
        """Return the minutes until the limit that comes first, validation included."""
        return (self.updates(step, minutes) - step) * self._minutes_per_update(step, minutes)

    def updates(self, step: int, minutes: float) -> int:
        """Return the number of updates of the whole training, an estimate if minutes limit it."""
        per_update = self._minutes_per_update(step, minutes)
        found = [] if self._length.updates is None else [self._length.updates]
        if per_update > 0 and self._length.limits.minutes is not None:
            found.append(step + round((self._length.limits.minutes - minutes) / per_update))
        return max(step, min(found, default=step))

    def _minutes_per_update(self, step: int, minutes: float) -> float:
        return (minutes - self._first_minutes) / max(1, step - self._first_step)


def duration_text(minutes: float) -> str:
    """Return a duration with a unit that suits its length."""
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
