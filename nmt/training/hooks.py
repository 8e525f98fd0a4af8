"""Hooks of the training loop: averaging, stopping, logging, validation and checkpoints."""

import logging
import sys
import time
from math import exp

from tqdm import tqdm

from nmt.training.checkpointing import Checkpointer
from nmt.training.ema import ExponentialMovingAverage
from nmt.training.gpu_usage import gpu_usage
from nmt.training.metrics_log import MetricsLogger, RunningLoss, Timer
from nmt.training.trainer import Hook, HookOrder, StopRequest, Trainer, Update
from nmt.training.validation import BestMetricTracker, Validator

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
        timer: minutes of training so far
        best: tracker of the validation metric, for early stopping
        epochs: maximum number of epochs; None for no limit
        steps: maximum number of updates; None for no limit
        minutes: maximum duration; None for no limit
    """

    order = HookOrder.STOP

    def __init__(
        self,
        trainer: Trainer,
        timer: Timer,
        best: BestMetricTracker,
        *,
        epochs: int | None,
        steps: int | None,
        minutes: float | None,
    ) -> None:
        self._trainer, self._timer, self._best = trainer, timer, best
        self._epochs, self._steps, self._minutes = epochs, steps, minutes

    def run(self, update: Update) -> None:
        if reason := self.reached():
            self._trainer.stop.finish(reason)

    def reached(self) -> str | None:
        """Return the limit that is reached, in words; called by all ranks together."""
        state, process_group = self._trainer.state, self._trainer.process_group
        # The position is that of the next batch, so its epoch is the number of completed ones.
        if self._epochs is not None and state.position.epoch >= self._epochs:
            return f"{self._epochs} epochs"
        if self._steps is not None and state.step >= self._steps:
            return f"{self._steps} updates"
        # The clocks of the ranks differ, but all of them must stop after the same update.
        if self._minutes is not None and process_group.any(self._timer.minutes >= self._minutes):
            return f"{self._minutes:g} minutes"
        if self._best.exhausted:
            watched = sorted({self._best.metric, "loss"})
            return f"{self._best.waited} validations without a better {' or '.join(watched)}"
        return None


class LogTraining(Hook):
    """Logs loss, learning rate and speed of the updates since the last log line.

    The hook runs after every update to add up their losses. The speed includes the hooks that run
    before this one, but neither validation nor checkpoints.

    Args:
        trainer: the trainer
        metrics: destination of the same values as numbers
        timer: minutes of training so far
        running: loss since the last log line; part of checkpoints
        log_every: updates per log line
    """

    order = HookOrder.LOG

    def __init__(
        self,
        trainer: Trainer,
        metrics: MetricsLogger,
        timer: Timer,
        running: RunningLoss,
        log_every: int,
    ) -> None:
        self._trainer, self._metrics, self._timer = trainer, metrics, timer
        self._running, self._log_every = running, log_every
        self._tokens, self._seconds = 0, 0.0

    def run(self, update: Update) -> None:
        self._running.add(update.nll, update.target_tokens)
        self._tokens += update.target_tokens
        self._seconds += time.perf_counter() - update.started
        if update.step % self._log_every == 0:
            self._log(update)
            self._running.reset()
        elif self._trainer.stop.reason is not None:
            # The sums go on in a run that is continued with a larger limit.
            self._log(update)

    def _log(self, update: Update) -> None:
        self._trainer.flush()  # a loss that is not finite is an error, not a value to log
        nll, tokens = self._running.sums()
        # Keys of metrics.jsonl.
        values = {
            "epoch": update.position.epoch + (not update.ends_epoch),  # from 1
            "loss": nll / tokens,
            "learning_rate": self._trainer.learning_rate,
            "gradient_norm": float(update.grad_norm),
            "target_tokens_per_second": self._tokens / self._seconds,
            "minutes": self._timer.minutes,
        } | gpu_usage(self._trainer.precision.device)
        self._tokens, self._seconds = 0, 0.0
        self._metrics.add("train", update.step, values)
        log.info(
            "update %d, epoch %d: loss %.3f, perplexity %.2f, rate %.2e, norm %.2f, "
            "%.0f target tokens/s, %.1f min",
            update.step,
            values["epoch"],
            values["loss"],
            exp(min(values["loss"], 700.0)),
            values["learning_rate"],
            values["gradient_norm"],
            values["target_tokens_per_second"],
            values["minutes"],
        )


class ProgressBar(Hook):
    """Progress bar on standard error: updates, tokens per second, loss, learning rate, time left.

    Only the first rank shows it, and only on a terminal. A context manager, which removes the bar.

    Args:
        trainer: the trainer
        total: number of updates of the whole run; None if it is unknown
        quiet: show no bar
    """

    order = HookOrder.LOG

    def __init__(self, trainer: Trainer, total: int | None, *, quiet: bool = False) -> None:
        self._trainer = trainer
        self._bar = tqdm(
            total=total,
            initial=trainer.state.step,
            unit=" updates",
            file=sys.stderr,
            disable=quiet or not (sys.stderr.isatty() and trainer.process_group.is_first),
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
            self._tokens, self._since = 0, time.perf_counter()
        # tqdm itself limits how often it draws.
        self._bar.update()

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
        return super().is_due(update, stop) or stop.is_interrupted or is_best

    def run(self, update: Update) -> None:
        self._checkpointer.save()
