"""Hooks of the training loop: averaging, stopping, logging, validation and checkpoints."""

import logging
import sys
import time
from math import exp

from nmt.training.best_metric import BestMetricTracker
from nmt.training.checkpointing import Checkpointer
from nmt.training.ema import ExponentialMovingAverage
from nmt.training.gpu_usage import gpu_usage
from nmt.training.hook import Hook, HookOrder, StopRequest, Update
from nmt.training.limits import Limits, RemainingTime, duration_text
from nmt.training.metrics_log import MetricsLogger, RunningLoss
from nmt.training.trainer import Trainer
from nmt.training.validation import Validator

log = logging.getLogger("nmt")

REFRESH_SECONDS = 0.5
"""Interval at which the progress bar reads the loss, for which a GPU has to be synchronized."""


class AverageParameters(Hook):
    """Updates the exponential moving average of the parameters."""

    order = HookOrder.AVERAGE

    def __init__(self, average: ExponentialMovingAverage) -> None:
        self._average = average

    def run(self, update: Update) -> None:
        self._average.update(update.step)


class StoppingCriteria(Hook):
    """Finishes training at the first limit that is reached.

    Args:
        trainer: the trainer to stop
        best: tracker of the validation metric, for early stopping
        limits: maximum epochs, updates and minutes
    """

    order = HookOrder.STOP

    def __init__(self, trainer: Trainer, best: BestMetricTracker, limits: Limits) -> None:
        self._trainer, self._best, self._limits = trainer, best, limits

    def run(self, update: Update) -> None:
        if reason := self.reached():
            self._trainer.stop.finish(reason)

    def reached(self) -> str | None:
        """Return the limit that is reached, in words; called by all ranks together."""
        state, process_group = self._trainer.state, self._trainer.process_group
        epochs, steps, minutes = self._limits
        # The position is that of the next batch, so its epoch is the number of completed ones.
        if epochs is not None and state.position.epoch >= epochs:
            return f"{epochs} epochs"
        if steps is not None and state.step >= steps:
            return f"{steps} updates"
        # The clocks of the ranks differ, but all of them must stop after the same update.
        if minutes is not None and process_group.any(self._trainer.timer.minutes >= minutes):
            return f"{minutes:g} minutes"
        if self._best.exhausted:
            watched = " or ".join(self._best.watched)
            return f"{self._best.waited} validations without a better {watched}"
        return None


class LogTraining(Hook):
    """Reports loss, learning rate and speed of the updates since the last report.

    The hook runs after every update to add up their losses. The speed includes the hooks that run
    before this one, but neither validation nor checkpoints. Where updates take long, a line of the
    log appears between the reports as well. It is no report, since those of a continued run are the
    same as of an uninterrupted one.

    Args:
        trainer: the trainer
        metrics: destination of the same values as numbers
        running: loss since the last report; part of checkpoints
        remaining: estimate of the time until the end
        log_every: updates per report
        log_seconds: seconds after which a line appears without a report; None for never
    """

    order = HookOrder.LOG

    def __init__(
        self,
        trainer: Trainer,
        metrics: MetricsLogger,
        running: RunningLoss,
        remaining: RemainingTime,
        *,
        log_every: int,
        log_seconds: float | None,
    ) -> None:
        self._trainer, self._metrics = trainer, metrics
        self._running, self._remaining = running, remaining
        self._log_every, self._log_seconds = log_every, log_seconds
        self._tokens, self._seconds = 0, 0.0
        self._last_line = time.perf_counter()

    def run(self, update: Update) -> None:
        self._running.add(update.nll, update.target_tokens)
        self._tokens += update.target_tokens
        self._seconds += time.perf_counter() - update.started
        if update.step % self._log_every == 0:
            self._report(update)
            self._running.reset()
        elif self._trainer.stop.reason is not None:
            # The sums go on in a run that is continued with a larger limit.
            self._report(update)
        elif self._is_line_due():
            self._log(update, self._values(update))

    def _is_line_due(self) -> bool:
        """Return whether the last line is old; only where lines are shown, as it reads the loss."""
        if self._log_seconds is None or not self._trainer.process_group.is_first:
            return False
        return time.perf_counter() - self._last_line >= self._log_seconds

    def _report(self, update: Update) -> None:
        self._trainer.flush()  # a loss that is not finite is an error, not a value to log
        values = self._values(update)
        self._tokens, self._seconds = 0, 0.0
        self._metrics.add("train", update.step, values)
        self._log(update, values)

    def _values(self, update: Update) -> dict[str, int | float]:
        """Return the values of a report, by their keys in metrics.jsonl."""
        nll, tokens = self._running.sums()
        return {
            "epoch": update.position.epoch + (not update.ends_epoch),  # from 1
            "loss": nll / tokens,
            "learning_rate": self._trainer.learning_rate,
            "gradient_norm": float(update.grad_norm),
            "target_tokens_per_second": self._tokens / self._seconds,
            "minutes": self._trainer.timer.minutes,
        } | gpu_usage(self._trainer.precision.device)

    def _log(self, update: Update, values: dict[str, int | float]) -> None:
        self._last_line = time.perf_counter()
        log.info(
            "update %d, epoch %d: loss %.3f, perplexity %.2f, rate %.2e, norm %.2f, "
            "%.0f target tokens/s, %.1f min%s",
            update.step,
            values["epoch"],
            values["loss"],
            exp(min(values["loss"], 700.0)),
            values["learning_rate"],
            values["gradient_norm"],
            values["target_tokens_per_second"],
            values["minutes"],
            self._time_left(update.step),
        )

    def _time_left(self, step: int) -> str:
        if self._trainer.stop.reason is not None:
            return ""
        minutes = self._remaining.minutes(step, self._trainer.timer.minutes)
        return f", {duration_text(minutes)} left"


class ProgressBar(Hook):
    """Progress bar on standard error: updates, tokens per second, loss, learning rate, time left.

    Only the first rank shows it, and only on a terminal or in a notebook, as a widget if ipywidgets
    is installed. A context manager, which removes the bar.

    Args:
        trainer: the trainer
        remaining: estimate of the number of updates until the end
        quiet: show no bar
    """

    order = HookOrder.LOG

    def __init__(self, trainer: Trainer, remaining: RemainingTime, *, quiet: bool = False) -> None:
        from tqdm.auto import tqdm  # imports asyncio, which nothing else needs

        self._trainer, self._remaining = trainer, remaining
        is_seen = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._bar = tqdm(
            total=self._total(),
            initial=trainer.state.step,
            unit=" updates",
            file=sys.stderr,
            disable=quiet or not (is_seen and trainer.process_group.is_first),
            dynamic_ncols=True,
        )
        self._tokens, self._since = 0, time.perf_counter()

    def run(self, update: Update) -> None:
        self._tokens += update.target_tokens
        seconds = time.perf_counter() - self._since
        if seconds > REFRESH_SECONDS and not self._bar.disable:
            self._bar.set_postfix_str(
                f"{self._tokens / seconds:.0f} tokens/s, "
                f"loss {float(update.nll) / update.target_tokens:.3f}, "
                f"rate {self._trainer.learning_rate:.1e}",
                refresh=False,
            )
            self._bar.total = self._total()
            self._tokens, self._since = 0, time.perf_counter()
        # tqdm itself limits how often it draws.
        self._bar.update()

    def _total(self) -> int | None:
        """Return the number of updates of the whole run; None as long as it is unknown."""
        step, minutes = self._trainer.state.step, self._trainer.timer.minutes
        total = self._remaining.updates(step, minutes)
        return total if total > step else None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


class Validate(Hook):
    """Validates the model, and finishes training when the metric has stopped improving.

    Args:
        validator: evaluates the model and updates `best`
        trainer: the trainer
        criteria: the limits of training, among them early stopping
        best: tracker of the validation metric
        every: updates per validation; None for the end of each epoch
    """

    order = HookOrder.VALIDATE

    def __init__(
        self,
        validator: Validator,
        trainer: Trainer,
        criteria: StoppingCriteria,
        best: BestMetricTracker,
        every: int | None,
    ) -> None:
        self._validator, self._trainer, self._criteria = validator, trainer, criteria
        self._best, self.every = best, every

    def run(self, update: Update) -> None:
        self._validator.validate(is_scheduled=self.is_scheduled(update))
        # A validation may take minutes; a signal during it takes effect before the next update.
        self._trainer.sync_interrupt()
        if self._best.exhausted:
            self._criteria.run(update)


class SaveCheckpoint(Hook):
    """Saves a checkpoint at an interval, for every new best model, and when training stops.

    If the last checkpoint could not be written, which a thread does, the hook raises the error.

    Args:
        checkpointer: writer of checkpoints
        best: tracker of the validation metric
        every: updates per checkpoint; None for the end of each epoch
    """

    order = HookOrder.CHECKPOINT

    def __init__(
        self, checkpointer: Checkpointer, best: BestMetricTracker, every: int | None
    ) -> None:
        self._checkpointer, self._best, self.every = checkpointer, best, every

    def is_due(self, update: Update, stop: StopRequest) -> bool:
        # An interrupted run saves at any update, so that it continues exactly there.
        is_best = self._best.best_step == update.step
        is_due = super().is_due(update, stop) or stop.is_interrupted or is_best
        return is_due or self._checkpointer.has_failed

    def run(self, update: Update) -> None:
        self._checkpointer.save()
