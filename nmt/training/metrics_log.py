"""Log of a run: train.log, metrics.jsonl and TensorBoard, and the values that are logged."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from tqdm import tqdm

from nmt.storage.atomic import JsonObject
from nmt.storage.run_dir import RunDir

log = logging.getLogger("nmt")


class MetricsLogger:
    """Writer of metrics to `metrics.jsonl`, one object per report, and to TensorBoard if installed.

    Args:
        run: the run directory
        step: number of completed updates; reports of later updates, which an interrupted run has
            written after its last checkpoint, are removed
        silent: write nothing, because another process does
    """

    def __init__(self, run: RunDir, step: int, *, silent: bool = False) -> None:
        self._file, self._silent = run.metrics, silent
        if silent:
            return
        kept = [line for line in self._complete_lines() if json.loads(line)["step"] <= step]
        self._file.write_text("".join(kept), encoding="utf-8")
        self._board = _tensorboard_writer(run, step)

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        """Write one report of kind "train" or "valid"."""
        if self._silent:
            return
        # Opened per report, so that a killed process loses none.
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def _complete_lines(self) -> list[str]:
        if not self._file.exists():
            return []
        text = self._file.read_text(encoding="utf-8")
        # A process that was killed may have left half a line at the end.
        return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _tensorboard_writer(run: RunDir, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # Later events are hidden, as later reports are removed from metrics.jsonl.
    return SummaryWriter(str(run.tensorboard), purge_step=step + 1)


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


class RunningLoss:
    """Negative log-likelihood and number of target tokens since the last log line."""

    def __init__(self) -> None:
        self._nll, self._tokens = 0.0, 0
        # On a GPU: losses that are still being computed.
        self._pending: list[Tensor] = []

    def add(self, nll: Tensor, tokens: int) -> None:
        """Add an update, without synchronizing with a GPU."""
        self._pending.append(nll)
        self._tokens += tokens

    def take(self) -> tuple[float, int]:
        """Return the sum of the nll in nats and the number of tokens, and reset both."""
        state = self.state_dict()
        self.load_state_dict({"loss": 0.0, "tokens": 0})
        return state["loss"], state["tokens"]

    def state_dict(self) -> JsonObject:
        """Return the sums as JSON values."""
        self._nll = sum(map(float, self._pending), start=self._nll)
        self._pending = []
        return {"loss": self._nll, "tokens": self._tokens}

    def load_state_dict(self, state: JsonObject) -> None:
        """Restore the sums from `state_dict`."""
        self._nll, self._tokens, self._pending = state["loss"], state["tokens"], []


class _ProgressBarHandler(logging.Handler):
    """Log handler for standard error that prints above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def start_logging(run: RunDir, *, silent: bool = False) -> None:
    """Send the log of this process to standard error and to `train.log`, or nowhere.

    Args:
        run: the run directory
        silent: log nothing, because another process does
    """
    # Without a handler, logging prints warnings to standard error by itself.
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if not silent:
        file = logging.FileHandler(run.log, encoding="utf-8")
        handlers = [_ProgressBarHandler(), file]
    # A process may train several times, as tests do.
    for handler in log.handlers[:]:
        handler.close()
        log.removeHandler(handler)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # a root handler would print everything twice
