"""The best validation of a run, and the validations without improvement since then."""

from collections.abc import Mapping, Sequence
from math import inf

from nmt.evaluation.metrics import higher_is_better
from nmt.storage.atomic import JsonObject

MIN_BLEU = 1.0
"""BLEU below this is noise: it depends on the few n-grams that match by accident."""


class BestMetricTracker:
    """Best validation of a run by a metric, and the number of validations without improvement.

    The first metric selects the best validation. Of equal values, and of BLEU below 1, it is the
    one with the lower loss. A validation counts towards `patience` if neither a metric nor the loss
    is better than ever before, unless all metrics are BLEU below 1, which show no improvement.

    Args:
        metrics: `loss` or metrics of nmt-eval, at least one
        patience: validations without improvement until `exhausted`; None for no limit

    Attributes:
        best: value of the first metric in the best validation; None before the first one
        best_step: update after which it was measured
        waited: number of validations since the last improvement
    """

    def __init__(self, metrics: Sequence[str], patience: int | None) -> None:
        self.metrics, self.metric, self.patience = tuple(metrics), metrics[0], patience
        self.best: float | None = None
        self.best_step, self.waited = 0, 0
        self._best_loss = self._lowest_loss = inf
        self._records: dict[str, float] = {}
        self._before_end: JsonObject | None = None

    @property
    def watched(self) -> list[str]:
        """Return the names of all values whose improvement resets the count."""
        return sorted({*self.metrics, "loss"})

    def update(self, step: int, values: Mapping[str, float], *, is_scheduled: bool = True) -> bool:
        """Add a validation; return whether it is the best so far.

        Args:
            step: number of completed updates
            values: the loss and the scores by metric
            is_scheduled: whether the validation is due at this update; otherwise it takes place
                only because training ends, and `forget_end` removes it
        """
        if not is_scheduled:
            self._before_end = self.state_dict()
        value, loss = values[self.metric], values["loss"]
        is_best = self.best is None or self._key(value, loss) > self._key(
            self.best, self._best_loss
        )
        watched = {name: values[name] for name in self.metrics}
        records = {name: one for name, one in watched.items() if self.is_record(name, one)}
        if records or loss < self._lowest_loss:
            self.waited = 0
        elif any(_has_resolution(name, one) for name, one in watched.items()):
            self.waited += 1
        if is_best:
            self.best, self._best_loss, self.best_step = value, loss, step
        self._records |= records
        self._lowest_loss = min(loss, self._lowest_loss)
        return is_best

    def is_record(self, metric: str, value: float) -> bool:
        """Return whether a value of a metric is better than all before."""
        sign = metric_sign(metric)
        return metric not in self._records or sign * value > sign * self._records[metric]

    def _key(self, value: float, loss: float) -> tuple[float, float]:
        """Return a pair that is greater for a better validation."""
        if not _has_resolution(self.metric, value):
            value = MIN_BLEU
        return metric_sign(self.metric) * value, -loss

    @property
    def exhausted(self) -> bool:
        """Return whether `patience` validations have passed without improvement."""
        waited = self.waited if self._before_end is None else self._before_end["waited"]
        return self.patience is not None and waited >= self.patience

    def state_dict(self) -> JsonObject:
        """Return the state as JSON values."""
        others = {name: self._records.get(name) for name in self.metrics[1:]}
        state: JsonObject = {
            "best": self.best,
            "best_step": self.best_step,
            "waited": self.waited,
            "record": self._records.get(self.metric),
            # JSON has no infinity, which the losses are before the first validation.
            "losses": None if self.best is None else [self._best_loss, self._lowest_loss],
        }
        state |= {"records": others} if others else {}
        return state if self._before_end is None else state | {"before_end": self._before_end}

    def load_state_dict(self, state: JsonObject) -> None:
        """Restore the state from `state_dict`."""
        self.best, self.best_step = state["best"], state["best_step"]
        self.waited = state["waited"]
        # Earlier versions recorded the best value alone.
        records = {self.metric: state.get("record", self.best)} | state.get("records", {})
        self._records = {name: float(value) for name, value in records.items() if value is not None}
        self._best_loss, self._lowest_loss = state.get("losses") or (inf, inf)
        self._before_end = state.get("before_end")

    def forget_end(self) -> bool:
        """Remove the validation at the end of training if it was not due; return whether it was.

        A run that is continued with a larger limit then equals one that had this limit from the
        beginning.
        """
        if self._before_end is None:
            return False
        self.load_state_dict(self._before_end)
        return True


def metric_sign(metric: str) -> float:
    """Return -1 for a loss or an error rate, whose negative is larger for a better model, or 1."""
    return 1.0 if higher_is_better(metric) else -1.0


def _has_resolution(metric: str, value: float) -> bool:
    """Return whether differences between values as low as this one mean anything."""
    return metric != "bleu" or value >= MIN_BLEU
