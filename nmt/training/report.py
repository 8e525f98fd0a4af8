"""What a run tells: a progress bar, a log, metrics.jsonl and TensorBoard."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from math import exp
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from nmt.training.trainer import Trainer, Update
from nmt.training.watch import Clock, Tally

log = logging.getLogger("nmt")


class Metrics:
    """`metrics.jsonl`: one object a report; and TensorBoard, where it is installed.

    Args:
        folder: the run directory
        step: updates done; what was reported after them, before an interruption, is forgotten
        silent: write nothing, since another process does
    """

    def __init__(self, folder: Path, step: int, *, silent: bool = False) -> None:
        self.file, self.silent = folder / "metrics.jsonl", silent
        if silent:
            return
        kept = [line for line in self._lines() if json.loads(line)["step"] <= step]
        self.file.write_text("".join(kept), encoding="utf-8")
        self.board = _tensorboard(folder, step)

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        """Write one report."""
        if self.silent:
            return
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def _lines(self) -> list[str]:
        if not self.file.exists():
            return []
        text = self.file.read_text(encoding="utf-8")
        return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


class Reporter:
    """Reports the updates since the last report, every `every` updates.

    Args:
        trainer: whose updates
        metrics: where reports go
        clock: minutes of the run
        tally: what is to be reported
        every: updates between reports
    """

    def __init__(
        self, trainer: Trainer, metrics: Metrics, clock: Clock, tally: Tally, every: int
    ) -> None:
        self.trainer, self.metrics, self.clock, self.every = trainer, metrics, clock, every
        self.tally = tally
        self.tokens, self.seconds, self.since = 0, 0.0, time.perf_counter()

    def __call__(self, update: Update) -> None:
        self.tally.add(update.likelihood, update.target_tokens)
        self.tokens += update.target_tokens
        self.seconds += time.perf_counter() - self.since
        if update.step % self.every == 0 or self.trainer.stopping:
            self._report(update)
        self.since = time.perf_counter()

    def pause(self) -> None:
        """Leave out of the speed what was done since the last update."""
        self.since = time.perf_counter()

    def _report(self, update: Update) -> None:
        self.trainer.settle()
        total, tokens = self.tally.take()
        loss = total / tokens
        rate = self.trainer.optimizer.param_groups[0]["lr"]
        values = {
            "epoch": update.position.epoch,
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": float(update.norm),
            "target_tokens_per_second": self.tokens / self.seconds,
            "minutes": self.clock.minutes,
        }
        self.metrics.add("train", update.step, values)
        log.info(
            "update %d, epoch %d: loss %.3f, perplexity %.2f, rate %.2e, norm %.2f, "
            "%.0f target tokens/s, %.1f min",
            update.step,
            update.position.epoch + (not update.ends_epoch),
            loss,
            exp(min(loss, 700.0)),
            rate,
            float(update.norm),
            self.tokens / self.seconds,
            self.clock.minutes,
        )
        self.tokens, self.seconds = 0, 0.0


class ProgressBar:
    """The bar on standard error: updates, tokens a second, loss, rate, time left.

    Args:
        trainer: whose updates
        updates: how many there will be; None when only the clock knows

    One process of several shows it.
    """

    def __init__(self, trainer: Trainer, updates: int | None) -> None:
        self.trainer = trainer
        self.bar = tqdm(
            total=updates,
            initial=trainer.step,
            unit=" updates",
            file=sys.stderr,
            disable=not (sys.stderr.isatty() and trainer.ranks.first),
            dynamic_ncols=True,
        )
        self.tokens, self.since = 0, time.perf_counter()

    def __call__(self, update: Update) -> None:
        self.tokens += update.target_tokens
        seconds = time.perf_counter() - self.since
        if seconds > 0.5 and not self.bar.disable:
            self.bar.set_postfix_str(
                f"{self.tokens / seconds:.0f} tokens/s, "
                f"loss {float(update.likelihood) / update.target_tokens:.3f}, "
                f"rate {self.trainer.optimizer.param_groups[0]['lr']:.1e}",
                refresh=False,
            )
            self.tokens, self.since = 0, time.perf_counter()
        self.bar.update()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.close()


class BarHandler(logging.Handler):
    """Log lines on standard error that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line above the bar."""
        tqdm.write(self.format(record), file=sys.stderr)


def start_log(folder: Path | None, *, silent: bool = False) -> None:
    """Send the log to standard error, and to `train.log` of a run; or nowhere."""
    handlers: list[logging.Handler] = [logging.NullHandler() if silent else BarHandler()]
    if folder is not None and not silent:
        handlers.append(logging.FileHandler(folder / "train.log", encoding="utf-8"))
    for handler in log.handlers[:]:
        handler.close()
        log.removeHandler(handler)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
