"""Interface of the trackers, and how a training starts the configured ones."""

import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from nmt.errors import OptionError, UserError
from nmt.registry import TRACKERS, ComponentConfig
from nmt.storage.atomic import JsonObject, file_errors, is_regular, replace_file
from nmt.storage.run_dir import RunDir

log = logging.getLogger("nmt")

OPTION = "training.report"


@dataclass(frozen=True)
class TrackedRun:
    """A run and its past, for a tracker that starts with it or continues with it.

    Attributes:
        directory: the run directory
        step: number of completed updates
        options: the experiment as plain data, every default written out
        reports: the reports so far, as `metrics.jsonl` contains them
    """

    directory: RunDir
    step: int = 0
    options: Mapping[str, object] = field(default_factory=dict)
    reports: Sequence[JsonObject] = ()

    def folder(self, tracker: str) -> Path:
        """Return the directory for the files of a tracker, which is created."""
        folder = self.directory.trackers / tracker
        with file_errors(folder, "cannot be created"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def stored_id(self, tracker: str) -> str | None:
        """Return the identifier that a service gave this run at an earlier start."""
        file = self.folder(tracker) / "id"
        if not is_regular(file):
            return None
        with file_errors(file, "cannot be read"):
            return file.read_text(encoding="utf-8").strip() or None

    def store_id(self, tracker: str, identifier: str) -> None:
        """Store the identifier by which later starts continue the same record."""
        replace_file(self.folder(tracker) / "id", f"{identifier}\n")


class Tracker(ABC):
    """Destination of the reports of one run.

    The constructor opens it. A run that continues opens it again, at the update of its last
    checkpoint; reports of later updates may have been added before the interruption.

    Attributes:
        package: importable name of a library that only this tracker requires
        requirement: argument of `pip install` that provides it
    """

    package: ClassVar[str] = ""
    requirement: ClassVar[str] = ""

    @abstractmethod
    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        """Add a report of kind "train" or "valid" after an update."""

    def close(self, *, failed: bool) -> None:  # noqa: B027 (optional)
        """Close the tracker; `failed` if training ends with an exception."""


def check_trackers(configs: Sequence[ComponentConfig] | None) -> None:
    """Check that the libraries of the configured trackers are installed.

    Raises:
        OptionError: one of them is not
    """
    for config in configs or ():
        tracker = TRACKERS.load(config.type)
        package = getattr(tracker, "package", "")
        if package and importlib.util.find_spec(package) is None:
            requirement = getattr(tracker, "requirement", "") or package
            raise OptionError(
                f"'{config.type}' requires the package {package}, which is not installed; "
                f"run pip install '{requirement}', or remove {config.type}",
                OPTION,
            )


class TrackerGroup:
    """The trackers of a run.

    Reports are never worth a training: a tracker that fails is reported once and left out from then
    on, and `metrics.jsonl` remains complete. A full disk is a user error, as elsewhere.

    Args:
        configs: trackers to start; None for TensorBoard if it is installed
        run: the run

    Raises:
        OptionError: a tracker cannot be started
    """

    def __init__(self, configs: Sequence[ComponentConfig] | None, run: TrackedRun) -> None:
        self._trackers: dict[str, Tracker] = {}
        if configs is None:
            is_installed = importlib.util.find_spec("tensorboard") is not None
            configs = [ComponentConfig("tensorboard")] if is_installed else []
        check_trackers(configs)
        try:
            for config in configs:
                self._trackers[config.type] = _start(config, run)
        except UserError:
            self.close(failed=True)
            raise

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        """Add a report to all trackers."""
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.add(kind, step, values)
            except UserError:
                raise
            except Exception as error:
                del self._trackers[name]
                log.warning(
                    "%s: %s failed after update %d (%s: %s) and gets no more reports from this "
                    "start; metrics.jsonl contains all",
                    OPTION,
                    name,
                    step,
                    type(error).__name__,
                    error,
                )

    def close(self, *, failed: bool) -> None:
        """Close all trackers.

        Raises:
            UserError: a disk is full, unless training has failed, whose error comes first
        """
        errors: dict[str, Exception] = {}
        for name, tracker in self._trackers.items():
            try:
                tracker.close(failed=failed)
            except Exception as error:
                errors[name] = error
        self._trackers = {}
        for found in errors.values():
            if isinstance(found, UserError) and not failed:
                raise found
        for name, found in errors.items():
            log.warning("%s: %s cannot be closed: %s", OPTION, name, found)


def _start(config: ComponentConfig, run: TrackedRun) -> Tracker:
    try:
        return TRACKERS.build(config, run)
    except UserError as error:
        raise OptionError(str(error), OPTION) from error
    # A service may be unreachable or require an account: any exception of its library.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        message = f"{config.type} cannot be started: {reason}; correct this, or remove it"
        raise OptionError(message, OPTION) from error
