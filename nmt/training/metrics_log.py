"""Log of a run: train.log, metrics.jsonl and trackers, and the values that are logged."""

import json
import logging
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress

from torch import Tensor
from tqdm import tqdm

from nmt.errors import file_error
from nmt.registry import ComponentConfig
from nmt.storage.atomic import (
    JsonObject,
    exists,
    file_errors,
    is_regular,
    move_aside,
    replace_file,
)
from nmt.storage.reports import read_reports
from nmt.storage.run_dir import RunDir
from nmt.training.trackers.tracker import TrackedRun, TrackerGroup

log = logging.getLogger("nmt")

ReportListener = Callable[[str, int, Mapping[str, int | float]], None]
"""Function of the kind of a report, the number of updates, and the values."""


class MetricsLogger:
    """Writer of metrics to `metrics.jsonl`, one object per report, and to the trackers.

    A context manager, which closes the trackers.

    Args:
        run: the run directory
        step: number of completed updates; reports of later updates, which an interrupted run has
            written after its last checkpoint, are removed
        unscheduled: kinds of reports that the end of training has added at this update, and that
            are removed when it is continued
        trackers: `training.report`
        options: the experiment as plain data, for the trackers
        silent: write nothing, because another process does

    Raises:
        OptionError: a tracker cannot be started
    """

    def __init__(
        self,
        run: RunDir,
        step: int,
        *,
        unscheduled: Collection[str] = (),
        trackers: Sequence[ComponentConfig] | None = (),
        options: Mapping[str, object] | None = None,
        silent: bool = False,
    ) -> None:
        self._file, self._silent = run.metrics, silent
        self._listeners: list[ReportListener] = []
        reports = [] if silent else self._keep(step, frozenset(unscheduled))
        self._trackers = TrackerGroup(
            () if silent else trackers, TrackedRun(run, step, options or {}, reports)
        )

    def __enter__(self) -> "MetricsLogger":
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self._trackers.close(failed=kind is not None)

    def add_listeners(self, listeners: Iterable[ReportListener]) -> None:
        """Call these functions with every further report."""
        self._listeners += listeners

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        """Write one report of kind "train" or "valid"."""
        self._write(kind, step, values)
        for listener in self._listeners:
            listener(kind, step, values)

    def _write(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        if self._silent:
            return
        # Opened per report, so that a killed process loses none.
        with file_errors(self._file), self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._trackers.add(kind, step, values)

    def reports(self, kind: str) -> list[JsonObject]:
        """Return all reports of a kind that the run contains."""
        with file_errors(self._file, "cannot be read"):
            data = self._file.read_bytes() if self._file.is_file() else b""
        return [report for report, _ in read_reports(data)[0] if report.get("kind") == kind]

    def _keep(self, step: int, unscheduled: Set[str]) -> list[JsonObject]:
        """Keep the reports up to an update, and move a damaged file aside; return the reports."""
        if not exists(self._file):
            return []
        data = b""
        damage = None if is_regular(self._file) else "is not a regular file"
        if damage is None:
            with file_errors(self._file, "cannot be read"):
                data = self._file.read_bytes()
        reports, unreadable = read_reports(data)
        if unreadable and damage is None:
            damage = f"{unreadable} lines cannot be read"
        if damage is not None:
            moved = move_aside(self._file)
            log.warning("%s: %s; the others are kept, and %s is a copy", self._file, damage, moved)
        kept = [
            (report, line)
            for report, line in reports
            if report["step"] < step
            or (report["step"] == step and report.get("kind") not in unscheduled)
        ]
        text = "".join(f"{line}\n" for _, line in kept)
        if text.encode() != data:
            replace_file(self._file, text)
        return [report for report, _ in kept]


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

    def sums(self) -> tuple[float, int]:
        """Return the sum of the nll in nats and the number of tokens."""
        state = self.state_dict()
        return state["loss"], state["tokens"]

    def reset(self) -> None:
        """Start again from zero."""
        self.load_state_dict({"loss": 0.0, "tokens": 0})

    @property
    def is_empty(self) -> bool:
        """Return whether no update was added since the last reset."""
        return self._tokens == 0

    def state_dict(self) -> JsonObject:
        """Return the sums as JSON values."""
        self._nll = sum(map(float, self._pending), start=self._nll)
        self._pending = []
        return {"loss": self._nll, "tokens": self._tokens}

    def load_state_dict(self, state: JsonObject) -> None:
        """Restore the sums from `state_dict`."""
        self._nll, self._tokens, self._pending = state["loss"], state["tokens"], []


class _LogFileHandler(logging.FileHandler):
    """Log handler for train.log, which reports a full disk as a user error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        log.removeHandler(self)
        self.close()
        raise file_error(error, self.baseFilename) from error

    def close(self) -> None:
        with suppress(OSError):  # it writes the lines again that could not be written
            super().close()


class _ProgressBarHandler(logging.Handler):
    """Log handler for standard error that prints above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def start_logging(run: RunDir, *, silent: bool = False, quiet: bool = False) -> None:
    """Send the log of this process to standard error and to `train.log`, or nowhere.

    Args:
        run: the run directory
        silent: log nothing, because another process does
        quiet: log to the file alone
    """
    # Without a handler, logging prints warnings to standard error by itself.
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if not silent:
        with file_errors(run.log):
            file = _LogFileHandler(run.log, encoding="utf-8")
        handlers = [file] if quiet else [_ProgressBarHandler(), file]
    # A process may train several times, as tests do.
    for handler in log.handlers[:]:
        handler.close()
        log.removeHandler(handler)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # a root handler would print everything twice
