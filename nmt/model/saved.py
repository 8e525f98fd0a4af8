"""A run on disk, as reading it needs: its folders, checkpoints, vocabularies and model."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nmt.config.loader import load_resolved
from nmt.config.schema import Experiment
from nmt.data.pictures import PictureSizes
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq

MODEL, TRAINING, STATE, SUMS = (
    "model.safetensors",
    "training.safetensors",
    "state.json",
    "SHA256SUMS",
)


Vocabularies = tuple[Vocabulary | None, Vocabulary]
"""Of source and target; pictures have none."""


@dataclass(frozen=True)
class Run:
    """A run directory."""

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved experiment."""
        return self.folder / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint, named by its update, and the links `last` and `best`."""
        return self.folder / "checkpoints"

    def experiment(self) -> Experiment:
        """The experiment that the run carries out.

        Raises:
            UserError: when this is not a run
        """
        if not self.config.is_file():
            raise UserError("is not a run: it holds no config.yaml", str(self.folder))
        return load_resolved(self.config)

    def steps(self) -> list[int]:
        """Updates that have a checkpoint, oldest first."""
        if not self.checkpoints.is_dir():
            return []
        names = (entry.name for entry in self.checkpoints.iterdir() if not entry.is_symlink())
        return sorted(int(name) for name in names if name.isdigit())

    def vocabularies(self) -> Vocabularies:
        """Source and target vocabulary; one and the same object when they are joint.

        Raises:
            UserError: when this is not a run, or a vocabulary cannot be read
        """
        folder = self.folder / "vocabulary"
        if not folder.is_dir():
            raise UserError("is not a run: it holds no vocabulary", str(self.folder))
        if (folder / "joint.model").is_file():
            joint = Vocabulary.load(folder / "joint.model")
            return joint, joint
        source, target = folder / "source.model", Vocabulary.load(folder / "target.model")
        if not source.is_file() and self.experiment().data.pictures is not None:
            return None, target
        return Vocabulary.load(source), target


def checksum(file: Path) -> str:
    """The sha256 of a file, which is read bit by bit."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files; None for a whole one."""
    try:
        sums = (checkpoint / SUMS).read_text(encoding="utf-8").splitlines()
        for line in sums:
            expected, _, name = line.partition("  ")
            if checksum(checkpoint / name) != expected:
                return f"{name} does not match its checksum"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return f"{SUMS} is not text"
    return None if sums else f"{SUMS} is empty"


def find_checkpoint(run: Run, which: str) -> Iterator[Path]:
    """Checkpoints to try, best fit first: the one asked for, the ones before it, those after it.

    Args:
        which: best, last, or the number of an update

    Raises:
        UserError: when there is none of that name
    """
    if which.isdigit():
        if int(which) not in run.steps():
            known = ", ".join(map(str, run.steps())) or "none"
            raise UserError(f"has no checkpoint {which}; known: {known}", str(run.folder))
        yield run.checkpoints / which
        return
    if which not in ("best", "last"):
        raise UserError(f"no checkpoint is called '{which}'; use best, last, average or an update")
    steps = run.steps()
    name = (run.checkpoints / which).resolve().name
    asked = int(name) if name.isdigit() else max(steps, default=0)
    for step in sorted(steps, key=lambda step: (step > asked, abs(step - asked))):
        yield run.checkpoints / str(step)


def whole_checkpoint(run: Run, which: str) -> tuple[Path, list[str]]:
    """The first undamaged checkpoint of `find_checkpoint`, and a warning for each it passed over.

    Raises:
        UserError: when there is none
    """
    warnings: list[str] = []
    for checkpoint in find_checkpoint(run, which):
        wrong = damage(checkpoint)
        if wrong is None:
            return checkpoint, warnings
        warnings.append(f"{checkpoint}: damaged ({wrong}); using the one before")
    detail = f": {'; '.join(warnings)}" if warnings else ""
    raise UserError(f"has no whole checkpoint '{which}'{detail}", str(run.folder))


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What `state.json` says of a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        UserError: when it is not one
    """
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"cannot be read: {error}", str(file)) from None


def average_weights(checkpoints: list[Path]) -> dict[str, Tensor]:
    """The mean weights of several checkpoints, summed in float64. Junczys-Dowmunt et al. 2016."""
    total: dict[str, Tensor] = {}
    types: dict[str, torch.dtype] = {}
    for checkpoint in checkpoints:
        for name, tensor in read_tensors(checkpoint / MODEL).items():
            total[name], types[name] = total.get(name, 0) + tensor.double(), tensor.dtype
    return {name: (total[name] / len(checkpoints)).to(types[name]) for name in total}


def put_weights(model: Seq2Seq, weights: dict[str, Tensor], place: str) -> None:
    """Give a model the weights of a checkpoint; tied tables are stored once.

    Raises:
        UserError: when they are of another model
    """
    known = dict(model.named_parameters()) | dict(model.named_buffers())
    odd = sorted(known.keys() ^ weights.keys())
    odd += [n for n in known.keys() & weights.keys() if known[n].shape != weights[n].shape]
    if odd:
        raise UserError(f"holds weights of another model ({odd[0]} does not fit)", place)
    with torch.no_grad():
        for name, tensor in known.items():
            tensor.copy_(weights[name])


@dataclass(frozen=True)
class SavedModel:
    """A trained model with all that is needed to use it.

    Attributes:
        source: the source's vocabulary, or what its pictures are
    """

    model: Seq2Seq
    source: Vocabulary | PictureSizes
    target_vocabulary: Vocabulary
    experiment: Experiment
    warnings: tuple[str, ...]


def load_model(folder: Path, checkpoint: str = "best") -> SavedModel:
    """The model of a run, on the CPU, ready to translate.

    Args:
        folder: the run directory
        checkpoint: best, last, average (of the checkpoints that were kept) or an update's number

    Raises:
        UserError: when there is no such run, or no whole checkpoint in it
    """
    run = Run(folder)
    experiment = run.experiment()
    vocabulary, target = run.vocabularies()
    source = PictureSizes.of(experiment.data.pictures) or vocabulary
    assert source is not None
    pieces = source if isinstance(source, PictureSizes) else len(source)
    model = build_model(experiment.model, pieces, len(target))
    if checkpoint == "average":
        all_found = [run.checkpoints / str(step) for step in run.steps()]
        wrong = {path: damage(path) for path in all_found}
        warnings = [f"{p}: damaged ({w}); left out of the average" for p, w in wrong.items() if w]
        whole = [path for path in all_found if not wrong[path]]
        if not whole:
            raise UserError("has no whole checkpoint to average", str(folder))
        put_weights(model, average_weights(whole), str(folder))
    else:
        path, warnings = whole_checkpoint(run, checkpoint)
        put_weights(model, read_tensors(path / MODEL), str(path))
    model.eval().requires_grad_(False)
    return SavedModel(model, source, target, experiment, tuple(warnings))
