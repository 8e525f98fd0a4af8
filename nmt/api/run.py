"""A run directory as a Python object: metrics, curves, and the trained model."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from nmt.config.schema import Experiment
from nmt.errors import UserError
from nmt.search.translator import Translator
from nmt.storage.atomic import exists, file_errors
from nmt.storage.checkpoint import read_state
from nmt.storage.reports import read_reports
from nmt.storage.run_checkpoints import candidates
from nmt.storage.run_dir import RunDir


class Run:
    """A training that has been started: `nmt.train` returns one, and `Run(path)` opens one.

    Args:
        path: the run directory
        stop_reason: the limit that ended training, in words

    Attributes:
        path: the run directory
        stop_reason: the limit that ended the call of `nmt.train`, such as "12 epochs"; None after
            an interruption, and for a run that was opened

    Raises:
        UserError: the directory is not a run
    """

    def __init__(self, path: str | PathLike[str], *, stop_reason: str | None = None) -> None:
        self.path, self.stop_reason = Path(path), stop_reason
        self._files = RunDir(self.path)
        self._files.check()

    @property
    def experiment(self) -> Experiment:
        """Return the resolved experiment, with every option.

        Raises:
            UserError: the experiment uses plugins, which only `Translator.load` and nmt-train run
        """
        return self._files.experiment()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Return the reports of `metrics.jsonl` in order, ready for `pandas.DataFrame`.

        A report has a "kind" ("train", or "valid" for a validation), the "step" (number of
        updates), and values such as "loss" and "chrf".
        """
        if not exists(self._files.metrics):
            return []
        with file_errors(self._files.metrics, "cannot be read"):
            reports, _ = read_reports(self._files.metrics.read_bytes())
        return [report for report, _ in reports]

    @property
    def best(self) -> dict[str, Any]:
        """Return the validation of the best checkpoint, a report of `metrics`.

        Raises:
            UserError: the run has no checkpoint yet
        """
        checkpoints, _ = candidates(self._files, "best")
        if not checkpoints:
            raise UserError("has no checkpoint yet", fspath(self.path))
        step = read_state(checkpoints[0])["step"]
        found = [one for one in self.metrics if (one.get("kind"), one["step"]) == ("valid", step)]
        if not found:
            raise UserError(f"has no validation after update {step}", str(self._files.metrics))
        return found[-1]

    def plot(self, metrics: str | Sequence[str] | None = None, x: str = "updates") -> Any:
        """Return a figure of the learning curves, as nmt-plot draws them; a notebook shows it.

        Args:
            metrics: names of reported values (default: the loss and the scores of validations)
            x: horizontal axis, updates or minutes

        Raises:
            UserError: the run does not report one of the metrics
        """
        # matplotlib, which training alone does not import.
        from nmt.api.curves import plot

        return plot([self], metrics, x)

    def translator(self, checkpoint: str | int = "best", **options: Any) -> Translator:
        """Load the trained model; the options are those of `Translator.load`."""
        return Translator.load(self.path, checkpoint=checkpoint, **options)

    def __fspath__(self) -> str:
        """Return the run directory, so that functions of paths accept a run."""
        return fspath(self.path)

    def __repr__(self) -> str:
        # The last report may be older than the checkpoint of an interrupted run, or newer.
        steps = max([0, *(one["step"] for one in self.metrics), *self._files.steps()])
        reason = f", finished after {self.stop_reason}" if self.stop_reason else ""
        return f"Run({fspath(self.path)!r}, {steps} updates{reason})"
