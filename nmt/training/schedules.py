"""Schedules: the factor on the learning rate at every update."""

from abc import ABC, abstractmethod
from math import cos, pi, sqrt
from typing import Any

from nmt.component_spec import NonNegative, Positive, PositiveFloat, Probability
from nmt.registry import SCHEDULES


class Schedule(ABC):
    """A factor for each update, 1-based; what it has seen of validation travels in its state."""

    @abstractmethod
    def factor(self, step: int) -> float:
        """What the optimizer's learning rate is multiplied by at update `step`."""

    def validated(self, step: int, improved: bool) -> None:  # noqa: B027 - most need not know
        """Called after each validation."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027 - most keep no state
        """Go on from a checkpoint."""


def _warm(step: int, warmup: int) -> float:
    return min(1.0, step / warmup) if warmup else 1.0


@SCHEDULES.register("constant")
class Constant(Schedule):
    """1, after a linear warm-up.

    Args:
        warmup: updates until the full rate
    """

    def __init__(self, *, warmup: NonNegative = 0) -> None:
        self.warmup = warmup

    def factor(self, step: int) -> float:
        return _warm(step, self.warmup)


@SCHEDULES.register("inverse_sqrt")
class InverseSquareRoot(Schedule):
    """Linear to 1 at `warmup`, then √(warmup / step). Vaswani et al. 2017, eq. 3, at peak 1.

    Args:
        warmup: updates until the full rate
    """

    def __init__(self, *, warmup: Positive = 4000) -> None:
        self.warmup = warmup

    def factor(self, step: int) -> float:
        return min(step / self.warmup, sqrt(self.warmup / step))


@SCHEDULES.register("cosine")
class Cosine(Schedule):
    """Half a cosine from 1 to `floor`. Loshchilov and Hutter 2017, eq. 5, without restarts.

    Args:
        steps: updates until the floor
        warmup: updates until the full rate
        floor: the factor at the end
    """

    def __init__(
        self, *, steps: Positive, warmup: NonNegative = 0, floor: Probability = 0.0
    ) -> None:
        if warmup >= steps:
            raise ValueError(f"warmup {warmup} is not less than steps {steps}")
        self.steps, self.warmup, self.floor = steps, warmup, floor

    def factor(self, step: int) -> float:
        if step <= self.warmup:
            return _warm(step, self.warmup)
        done = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        return self.floor + (1 - self.floor) * (1 + cos(pi * done)) / 2


@SCHEDULES.register("luong")
class LuongHalving(Schedule):
    """1 until `start`, then halved every `every` updates. Luong et al. 2015, section 4.1.

    Args:
        start: updates at the full rate
        every: updates between halvings after that
        decay: what the rate is multiplied by each time
    """

    def __init__(self, *, start: Positive, every: Positive, decay: Probability = 0.5) -> None:
        self.start, self.every, self.decay = start, every, decay

    def factor(self, step: int) -> float:
        return float(self.decay ** max(0, (step - self.start + self.every - 1) // self.every))


@SCHEDULES.register("plateau")
class Plateau(Schedule):
    """Multiplied by `decay` when `patience` validations in a row bring nothing better.

    Args:
        decay: what the rate is multiplied by
        patience: validations to wait
        warmup: updates until the full rate
        floor: the least factor
    """

    def __init__(
        self,
        *,
        decay: Probability = 0.5,
        patience: Positive = 2,
        warmup: NonNegative = 0,
        floor: PositiveFloat = 1e-3,
    ) -> None:
        self.decay, self.patience, self.warmup, self.floor = decay, patience, warmup, floor
        self.waited, self.decays = 0, 0

    def factor(self, step: int) -> float:
        return _warm(step, self.warmup) * max(self.floor, self.decay**self.decays)

    def validated(self, step: int, improved: bool) -> None:
        self.waited = 0 if improved else self.waited + 1
        if self.waited == self.patience:
            self.waited, self.decays = 0, self.decays + 1

    def state(self) -> dict[str, Any]:
        return {"waited": self.waited, "decays": self.decays}

    def restore(self, state: dict[str, Any]) -> None:
        self.waited, self.decays = state["waited"], state["decays"]
