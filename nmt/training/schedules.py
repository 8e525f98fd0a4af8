"""Learning-rate schedules: the factor of the learning rate at every update."""

from abc import ABC, abstractmethod
from math import cos, pi, sqrt

from nmt.component_spec import NonNegative, Positive, PositiveFloat, Probability
from nmt.registry import SCHEDULES
from nmt.storage.atomic import JsonObject
from nmt.training.limits import Limits, TrainingLength


class Schedule(ABC):
    """Learning-rate schedule: a factor per update.

    The factor is a function of the number of the update, of the share of training that is done, and
    of past validations, whose effect is in `state_dict`.

    Attributes:
        length: length of the training, which `build_trainer` sets; None where it is unknown
    """

    length: TrainingLength | None = None

    @property
    def depends_on_validation(self) -> bool:
        """Return whether the results of validations change the factor."""
        return type(self).on_validation is not Schedule.on_validation

    @abstractmethod
    def factor(self, step: int) -> float:
        """Return the factor of the optimizer's learning rate at update `step`, from 1."""

    def on_validation(self, step: int, improved: bool) -> None:  # noqa: B027 (optional)
        """Record a validation after update `step`; `improved` if its metric is a new record."""

    def state_dict(self) -> JsonObject:
        """Return the state as JSON values."""
        return {}

    def load_state_dict(self, state: JsonObject) -> None:  # noqa: B027 (optional)
        """Restore the state from `state_dict`."""


def _warmup_factor(step: int, warmup: int) -> float:
    return min(1.0, step / warmup) if warmup else 1.0


@SCHEDULES.register("constant")
class Constant(Schedule):
    """Constant factor 1 after a linear warm-up.

    Args:
        warmup: updates until the full learning rate
    """

    def __init__(self, *, warmup: NonNegative = 0) -> None:
        self.warmup = warmup

    def factor(self, step: int) -> float:
        return _warmup_factor(step, self.warmup)


@SCHEDULES.register("inverse_sqrt")
class InverseSquareRoot(Schedule):
    """Inverse square root with linear warm-up, 1 at the peak. Vaswani et al. 2017, eq. 3.

    Args:
        warmup: updates until the full learning rate
    """

    def __init__(self, *, warmup: Positive = 4000) -> None:
        self.warmup = warmup

    def factor(self, step: int) -> float:
        # The two curves meet at 1, at the end of the warm-up.
        return min(step / self.warmup, sqrt(self.warmup / step))


class Decay(Schedule):
    """Linear warm-up from 0 to 1, and a decay to `floor` until the end of the schedule.

    Without `steps` it ends with the training, at the limit that comes first. The limits of the
    first start are part of the state, so a run that is prolonged keeps its curve.
    """

    def __init__(
        self,
        *,
        steps: Positive | None = None,
        warmup: NonNegative | Probability = 0,
        floor: Probability = 0.0,
    ) -> None:
        if steps is not None and warmup >= steps:
            raise ValueError(f"warmup: {warmup} must be less than steps: {steps}")
        self.steps, self.warmup, self.floor = steps, warmup, floor

    @abstractmethod
    def curve(self, done: float) -> float:
        """Return the decay from 1 to 0, at a share of its length from 0 to 1."""

    def factor(self, step: int) -> float:
        length = self._length()
        if isinstance(self.warmup, float):  # a share of the length
            done = length.done(step)
            if done < self.warmup:
                return done / self.warmup
            done = (done - self.warmup) / (1 - self.warmup)
        else:
            if step <= self.warmup:
                return _warmup_factor(step, self.warmup)
            done = length.done(step, self.warmup)
        return self.floor + (1 - self.floor) * self.curve(done)

    def _length(self) -> TrainingLength:
        if self.steps is not None:
            # Neither epochs nor minutes are limited, so they are not read.
            return TrainingLength(Limits(steps=self.steps), lambda: 0, lambda: 0.0)
        if self.length is None:
            raise ValueError("steps are required where the length of training is unknown")
        return self.length

    def state_dict(self) -> JsonObject:
        return {} if self.steps is not None else {"length": self._length().state_dict()}

    def load_state_dict(self, state: JsonObject) -> None:
        if self.steps is None:
            self._length().load_state_dict(state["length"])


@SCHEDULES.register("cosine")
class Cosine(Decay):
    """Cosine from 1 to `floor`. Loshchilov and Hutter 2017, eq. 5, without restarts.

    Args:
        steps: updates until the factor is `floor` (default: the length of the training, by the
            limit that comes first: training.minutes, epochs or steps)
        warmup: updates until the full learning rate, or a share of the length, such as 0.05
        floor: final factor
    """

    def curve(self, done: float) -> float:
        return (1 + cos(pi * done)) / 2


@SCHEDULES.register("linear")
class Linear(Decay):
    """Linear decay from 1 to `floor`. Devlin et al. 2019, A.2.

    Args:
        steps: updates until the factor is `floor` (default: the length of the training, by the
            limit that comes first: training.minutes, epochs or steps)
        warmup: updates until the full learning rate, or a share of the length, such as 0.05
        floor: final factor
    """

    def curve(self, done: float) -> float:
        return 1 - done


@SCHEDULES.register("luong")
class LuongHalving(Schedule):
    """Constant until `start`, then halved every `every` updates. Luong et al. 2015, section 4.1.

    Args:
        start: updates at the full learning rate
        every: updates per halving
        decay: factor in place of 1/2
    """

    def __init__(self, *, start: Positive, every: Positive, decay: Probability = 0.5) -> None:
        self.start, self.every, self.decay = start, every, decay

    def factor(self, step: int) -> float:
        # The first halving is at start + 1: the exponent is rounded up.
        return float(self.decay ** max(0, (step - self.start + self.every - 1) // self.every))


@SCHEDULES.register("plateau")
class Plateau(Schedule):
    """Decay by a factor whenever `patience` validations in a row do not improve the metric.

    Args:
        decay: factor of each decay
        patience: validations without improvement per decay
        warmup: updates until the full learning rate
        floor: smallest factor
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
        return _warmup_factor(step, self.warmup) * max(self.floor, self.decay**self.decays)

    def on_validation(self, step: int, improved: bool) -> None:
        # The count starts again after a decay, as well as after an improvement.
        self.waited = 0 if improved else self.waited + 1
        if self.waited == self.patience:
            self.waited, self.decays = 0, self.decays + 1

    def state_dict(self) -> JsonObject:
        return {"waited": self.waited, "decays": self.decays}

    def load_state_dict(self, state: JsonObject) -> None:
        self.waited, self.decays = state["waited"], state["decays"]
