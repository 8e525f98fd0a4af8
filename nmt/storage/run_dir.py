"""The run directory: the names of its files, and starting, continuing or replacing a run."""

import difflib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from nmt.config.loader import load_resolved
from nmt.config.schema import Experiment
from nmt.config.yaml_source import read_yaml
from nmt.errors import UserError
from nmt.files import is_file
from nmt.storage.atomic import replace_file
from nmt.storage.plugins import list_plugins, verified_plugins


class RunDir:
    """The paths of a run directory; no other code knows the names of the files in it.

    Attributes:
        path: the directory
        config: the resolved experiment, with every default written out
        plugins: directory of copies of the plugins, with their checksums
        vocabulary: directory of the SentencePiece models
        joint_vocabulary: the one model of both sides
        source_vocabulary, target_vocabulary: the model of each side, unless the vocabulary is joint
        cache: directory of encoded text and images, unless `data.cache` names another
        batch_tokens: the batch size that `batch_tokens: auto` has found
        checkpoints: one directory per checkpoint, named by its update, and the links to two of them
        metrics: one JSON object per report
        log: the log of all starts of the run
        tensorboard: directory of TensorBoard's event files
        samples: directory of translations, one file per validation
        attention: directory of attention plots and pages, one of each per validation
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.plugins = path / "plugins"
        self.vocabulary = path / "vocabulary"
        self.joint_vocabulary = self.vocabulary / "joint.model"
        self.source_vocabulary = self.vocabulary / "source.model"
        self.target_vocabulary = self.vocabulary / "target.model"
        self.cache = path / "cache"
        self.batch_tokens = path / "batch_tokens"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.log = path / "train.log"
        self.tensorboard = path / "tensorboard"
        self.samples = path / "samples"
        self.attention = path / "attention"

    def checkpoint(self, step: int | str) -> Path:
        """Return the directory of a checkpoint, by the number of its update or by its link."""
        return self.checkpoints / str(step)

    def experiment(self, *, trust_plugins: bool = False) -> Experiment:
        """Read the run's experiment.

        Args:
            trust_plugins: import the code that the run contains or names; otherwise it is refused

        Raises:
            UserError: the directory is not a run, or uses code that is not trusted
        """
        if not is_file(self.config):
            raise UserError(f"is not a run: it has no {self.config.name}", str(self.path))
        if not trust_plugins:
            return load_resolved(self.config, "none", list_plugins(self.plugins))
        return load_resolved(self.config, "all", verified_plugins(self.plugins))

    def has_images(self) -> bool:
        """Return whether the source of the run is images, reading its config as data only."""
        return read_yaml(self.config).get(("data", "pictures")) is not None

    def samples_file(self, step: int) -> Path:
        """Return the file of the sample translations after an update."""
        return self.samples / f"{step}.txt"

    def steps(self) -> list[int]:
        """Return the updates that have a checkpoint, oldest first."""
        if not self.checkpoints.is_dir():
            return []
        # The links to checkpoints, and staging directories of interrupted writes, are none
        # themselves.
        names = (entry.name for entry in self.checkpoints.iterdir() if not entry.is_symlink())
        return sorted(int(name) for name in names if name.isdigit())


@contextmanager
def open_run_dir(path: Path, experiment: Experiment, *, restart: bool) -> Iterator[RunDir]:
    """Yield the run of an experiment, new or to be continued, while it is being prepared.

    When the preparation ends with a UserError, the file system is left as it was: a new run is
    removed, because the corrected config would be a changed one, and a run that was renamed for a
    restart gets its name back.

    Args:
        path: the run directory
        experiment: the resolved experiment
        restart: rename an existing run and start from the beginning

    Raises:
        UserError: the directory holds a run of another experiment, or something else
    """
    run, text = RunDir(path), _to_yaml(experiment)
    with ExitStack() as stack:
        if restart and run.config.is_file():
            stack.enter_context(_renamed(path))
        if run.config.is_file():
            _check_unchanged(run, text)
        else:
            _create(run, text)
            stack.enter_context(_removed_on_user_error(path))
        yield run


def _to_yaml(experiment: Experiment) -> str:
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
    # Its plugins are those of the experiment, which are imported, or the config has changed.
    before = _to_yaml(load_resolved(run.config, "registered"))
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
def _renamed(path: Path) -> Iterator[None]:
    renamed = _unused_name(path)
    try:
        path.rename(renamed)
    except OSError as error:
        message = f"cannot be renamed: {error.strerror}; choose another --run"
        raise UserError(message, str(path)) from error
    try:
        yield
    except UserError:
        renamed.rename(path)
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
