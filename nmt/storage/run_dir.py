"""The run directory and the names of its files."""

import os
from pathlib import Path

from nmt.config.loader import load_resolved
from nmt.config.schema import Experiment
from nmt.config.yaml_source import read_yaml
from nmt.errors import UserError
from nmt.files import exists, is_file
from nmt.storage.atomic import file_errors, is_regular
from nmt.storage.bundle import SHORTLIST, WEIGHTS, is_bundle, is_member
from nmt.storage.plugins import list_plugins, verified_plugins

MAX_STEP_DIGITS = 18


class RunDir:
    """The paths of a run directory; no other code knows the names of the files in it.

    Attributes:
        path: the directory
        config: the resolved experiment, with every default written out
        plugins: directory of copies of the plugins, with their checksums
        vocabulary: directory of the vocabularies
        joint_vocabulary: the one SentencePiece model of both sides; vocabularies of other kinds
            have the suffix .json instead
        source_vocabulary, target_vocabulary: the model of each side, unless the vocabulary is joint
        shortlist: target tokens that may translate each source token
        cache: directory of encoded text and images, unless `data.cache` names another
        batch_tokens: the batch size that `batch_tokens: auto` has found
        checkpoints: one directory per checkpoint, named by its update, and the links to two of them
        metrics: one JSON object per report
        log: the log of all starts of the run
        tensorboard: directory of TensorBoard's event files
        csv: directory of the reports as tables
        trackers: directory of the files of other trackers, one directory each
        samples: directory of translations, one file per validation
        attention: directory of attention plots and pages, one of each per validation
        lock: locked while the run is trained
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.plugins = path / "plugins"
        self.vocabulary = path / "vocabulary"
        self.joint_vocabulary = self.vocabulary / "joint.model"
        self.source_vocabulary = self.vocabulary / "source.model"
        self.target_vocabulary = self.vocabulary / "target.model"
        self.shortlist = path / SHORTLIST
        self.cache = path / "cache"
        self.batch_tokens = path / "batch_tokens"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.log = path / "train.log"
        self.tensorboard = path / "tensorboard"
        self.csv = path / "csv"
        self.trackers = path / "trackers"
        self.samples = path / "samples"
        self.attention = path / "attention"
        self.lock = path / ".lock"

    def vocabulary_files(self) -> tuple[Path, Path, Path]:
        """Return the files of the joint, the source and the target vocabulary, which may not exist.

        Each is a JSON file if that exists, and a SentencePiece model otherwise.
        """
        models = (self.joint_vocabulary, self.source_vocabulary, self.target_vocabulary)
        joint, source, target = (
            other if is_file(other := model.with_suffix(".json")) else model for model in models
        )
        return joint, source, target

    def check(self) -> None:
        """Raise UserError for a path that does not exist or is not a run.

        A folder with the files of a bundle passes, because it has a configuration; see
        `check_trained`.
        """
        if not exists(self.path):
            raise UserError("not found; check the name of the run", str(self.path))
        if is_file(self.path):
            raise UserError("is a file; give the directory of a run", str(self.path))
        if not is_file(self.config):
            raise UserError(f"is not a run: it has no {self.config.name}", str(self.path))

    def check_trained(self) -> None:
        """Raise UserError for a path that does not exist, is not a run, or is a bundle."""
        if exists(self.path) and is_bundle(self.path):
            message = "is a file or a bundle; give the directory of the run, with its checkpoints"
            raise UserError(message, str(self.path))
        self.check()

    def owns(self, file: Path) -> bool:
        """Return whether a file has the place of one that training writes."""
        own = {path for path in vars(self).values() if path != self.path}
        return not own.isdisjoint({file, *file.parents})

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
        self.check()
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
        """Return the updates that have a checkpoint, oldest first.

        Links and names with other digits than 0 to 9 are ignored: they were not written by a run.

        Raises:
            UserError: the directory of checkpoints cannot be read
        """
        with file_errors(self.checkpoints, "cannot be read"):
            if not self.checkpoints.is_dir():
                return []
            entries = list(self.checkpoints.iterdir())
            # The links to checkpoints, and staging directories of interrupted writes, are none
            # themselves.
            return sorted(
                int(entry.name)
                for entry in entries
                if _is_step(entry.name) and entry.is_dir() and not entry.is_symlink()
            )

    def has_checkpoint(self) -> bool:
        """Return whether a checkpoint exists, or a directory that a copy made of a link."""
        links = [self.checkpoint(name) for name in ("last", "best")]
        return bool(self.steps()) or any(p.is_dir() and not p.is_symlink() for p in links)


def owner(file: Path) -> Path | None:
    """Return the directory of the run or bundle that a file is part of; None for other files."""
    resolved = Path(os.path.realpath(file))
    for run in map(RunDir, resolved.parents):
        if not is_regular(run.config):
            continue
        if run.checkpoints.is_dir() and run.owns(resolved):
            return run.path
        name = resolved.relative_to(run.path).as_posix()
        if is_regular(run.path / WEIGHTS) and is_member(name):
            return run.path
    return None


def _is_step(name: str) -> bool:
    """Return whether a name is that of a checkpoint: a number without leading zeros."""
    is_number = name.isascii() and name.isdecimal() and len(name) <= MAX_STEP_DIGITS
    return is_number and (name == "0" or not name.startswith("0"))
