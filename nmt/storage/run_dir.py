"""The run directory: the names of its files, and how a run is started, continued or replaced."""

import difflib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from nmt.config.loader import load_resolved
from nmt.config.schema import Experiment
from nmt.errors import UserError
from nmt.storage.atomic import replace_file


@dataclass(frozen=True)
class RunDir:
    """A run directory; the only place that knows the names of the files in it."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved experiment, with every default written out."""
        return self.path / "config.yaml"

    @property
    def vocabulary(self) -> Path:
        """Directory of the SentencePiece models."""
        return self.path / "vocabulary"

    @property
    def joint_vocabulary(self) -> Path:
        """The one model of both sides."""
        return self.vocabulary / "joint.model"

    @property
    def source_vocabulary(self) -> Path:
        """The source model, unless the vocabulary is joint."""
        return self.vocabulary / "source.model"

    @property
    def target_vocabulary(self) -> Path:
        """The target model, unless the vocabulary is joint."""
        return self.vocabulary / "target.model"

    @property
    def cache(self) -> Path:
        """Directory of encoded text, unless `data.cache` names another."""
        return self.path / "cache"

    @property
    def checkpoints(self) -> Path:
        """One directory per checkpoint, named by its update, and the links `last` and `best`."""
        return self.path / "checkpoints"

    @property
    def batch_tokens(self) -> Path:
        """The batch size that `batch_tokens: auto` has found."""
        return self.path / "batch_tokens"

    @property
    def metrics(self) -> Path:
        """One JSON object per report."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """The log of all starts of the run."""
        return self.path / "train.log"

    @property
    def tensorboard(self) -> Path:
        """Directory of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def samples(self) -> Path:
        """Directory of translations of the validation text, a file per validation."""
        return self.path / "samples"

    @property
    def attention(self) -> Path:
        """Directory of attention plots and reports, one of each per validation."""
        return self.path / "attention"

    def checkpoint(self, step: int | str) -> Path:
        """Return the directory of a checkpoint, by the number of its update or by its link."""
        return self.checkpoints / str(step)

    def experiment(self) -> Experiment:
        """Read the run's experiment.

        Raises:
            UserError: the directory is not a run
        """
        if not self.config.is_file():
            raise UserError(f"is not a run: it has no {self.config.name}", str(self.path))
        return load_resolved(self.config)

    def steps(self) -> list[int]:
        """Return the updates that have a checkpoint, oldest first."""
        if not self.checkpoints.is_dir():
            return []
        names = (entry.name for entry in self.checkpoints.iterdir() if not entry.is_symlink())
        return sorted(int(name) for name in names if name.isdigit())


@contextmanager
def open_run_dir(path: Path, experiment: Experiment, *, restart: bool) -> Iterator[RunDir]:
    """Yield the run of an experiment, new or to be continued, while it is being prepared.

    When the preparation ends with a UserError, the file system is left as it was: a new run is
    removed, because the corrected config would be a changed one, and a run that was moved aside is
    moved back.

    Args:
        path: the run directory
        experiment: the resolved experiment
        restart: move an existing run aside and start from the beginning

    Raises:
        UserError: the directory holds a run of another experiment, or something else
    """
    run, text = RunDir(path), to_yaml(experiment)
    with ExitStack() as stack:
        if restart and run.config.is_file():
            stack.enter_context(_moved_aside(path))
        if run.config.is_file():
            _check_unchanged(run, text)
        else:
            _create(run, text)
            stack.enter_context(_removed_on_user_error(path))
        yield run


def to_yaml(experiment: Experiment) -> str:
    """Return the resolved experiment as YAML, every option written out."""
    text: str = yaml.safe_dump(experiment.to_dict(), sort_keys=False, allow_unicode=True, width=100)
    return text


def _create(run: RunDir, text: str) -> None:
    path = run.path
    if path.exists() and not path.is_dir():
        raise UserError("is a file; choose a directory for the run", str(path))
    if path.exists() and any(path.iterdir()):
        raise UserError("is not empty and holds no run; choose another --run", str(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
        replace_file(run.config, text)
    except OSError as error:
        message = f"cannot be created: {error.strerror}; choose another --run"
        raise UserError(message, str(path)) from error


def _check_unchanged(run: RunDir, text: str) -> None:
    if run.config.read_text(encoding="utf-8") == text:
        return
    # A run that was written before an option existed has the default of the option.
    before = to_yaml(run.experiment())
    if before == text:
        return
    lines = difflib.unified_diff(before.splitlines(), text.splitlines(), n=0, lineterm="")
    changes = [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
    raise UserError(
        f"the config of this run has changed ({'; '.join(changes)}); "
        "undo the change, use --restart to start over, or choose another --run",
        str(run.config),
    )


@contextmanager
def _moved_aside(path: Path) -> Iterator[None]:
    moved = _unused_name(path)
    try:
        path.rename(moved)
    except OSError as error:
        message = f"cannot be moved aside: {error.strerror}; choose another --run"
        raise UserError(message, str(path)) from error
    try:
        yield
    except UserError:
        moved.rename(path)
        raise


@contextmanager
def _removed_on_user_error(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        shutil.rmtree(path)
        raise


def _unused_name(path: Path) -> Path:
    absolute, number = path.absolute(), 1  # the path "." has no name of its own
    while (candidate := absolute.with_name(f"{absolute.name}.old{number}")).exists():
        number += 1
    return candidate
