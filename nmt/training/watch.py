"""What a run knows of its past: the best validation, time taken, and what is not reported yet."""

import time
from typing import Any

from torch import Tensor

from nmt.evaluation.metrics import higher_is_better


class Watch:
    """Follows one metric over the validations of a run.

    Args:
        metric: `loss`, or a metric of nmt-eval
        patience: validations without a better value before training is to stop; None for never
    """

    def __init__(self, metric: str, patience: int | None) -> None:
        self.metric, self.patience = metric, patience
        self.sign = 1.0 if metric != "loss" and higher_is_better(metric) else -1.0
        self.best: float | None = None
        self.best_step, self.waited = 0, 0

    def see(self, step: int, value: float) -> bool:
        """Take in a validation; whether it is the best so far."""
        improved = self.best is None or self.sign * value > self.sign * self.best
        if improved:
            self.best, self.best_step, self.waited = value, step, 0
        else:
            self.waited += 1
        return improved

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best, self.best_step = state["best"], state["best_step"]
        self.waited = state["waited"]


class Clock:
    """Minutes of training, those before an interruption included."""

    def __init__(self) -> None:
        self.before, self.started = 0.0, time.monotonic()

    @property
    def minutes(self) -> float:
        """Minutes so far."""
        return self.before + (time.monotonic() - self.started) / 60

    def restore(self, minutes: float) -> None:
        """Go on from a checkpoint."""
        self.before, self.started = minutes, time.monotonic()


class Tally:
    """Loss and target tokens of the updates since the last report."""

    def __init__(self) -> None:
        self.loss, self.tokens = 0.0, 0
        self.waiting: list[Tensor] = []

    def add(self, loss: Tensor, tokens: int) -> None:
        """Take in an update; a GPU's loss is not waited for."""
        self.waiting.append(loss)
        self.tokens += tokens

    def take(self) -> tuple[float, int]:
        """Sum of the loss in nats, and target tokens; then begin anew."""
        state = self.state()
        self.restore({"loss": 0.0, "tokens": 0})
        return state["loss"], state["tokens"]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        self.loss = sum(map(float, self.waiting), start=self.loss)
        self.waiting = []
        return {"loss": self.loss, "tokens": self.tokens}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.loss, self.tokens, self.waiting = state["loss"], state["tokens"], []
