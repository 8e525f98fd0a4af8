"""Checkpoints: written completely or not at all, verified by checksum, and free of pickle.

A checkpoint is a directory named by its update. It holds the weights, further tensors that training
continues from, the remaining state as JSON, and the checksums of these three files.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nmt.errors import UserError
from nmt.storage.atomic import JsonObject, publish_dir, replace_link, sha256, staging_dir
from nmt.storage.run_dir import RunDir

WEIGHTS, TRAINING, STATE, CHECKSUMS = (
    "model.safetensors",
    "training.safetensors",
    "state.json",
    "SHA256SUMS",
)

Link = Literal["best", "last"]


def write_checkpoint(
    run: RunDir,
    step: int,
    weights: Mapping[str, Tensor],
    training: Mapping[str, Tensor],
    state: JsonObject,
) -> Path:
    """Write a checkpoint and point the link `last` to it; return its directory.

    Args:
        run: the run that the checkpoint belongs to
        step: number of updates done
        weights: tensors that a translator loads
        training: further tensors that training continues from
        state: the remaining state of training, as JSON values

    Raises:
        UserError: the disk is full or cannot be written to
    """
    target = run.checkpoint(step)
    with staging_dir(run.checkpoints, target.name) as staging:
        try:
            # Straight from the tensors to the disk: serialized in memory they would need it twice.
            save_file(_contiguous(weights), staging / WEIGHTS)
            save_file(_contiguous(training), staging / TRAINING)
            (staging / STATE).write_text(json.dumps(dict(state), indent=1) + "\n", encoding="utf-8")
            sums = [f"{sha256(staging / name)}  {name}\n" for name in (WEIGHTS, TRAINING, STATE)]
            (staging / CHECKSUMS).write_text("".join(sums), encoding="utf-8")
            publish_dir(staging, target)
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"the checkpoint cannot be written: {error}; the previous one is kept, "
                "and the same command continues from it",
                str(run.checkpoints),
            ) from None
    link_checkpoint(run, "last", step)
    return target


def link_checkpoint(run: RunDir, name: Link, step: int) -> None:
    """Let a link point to the checkpoint of an update, replacing it in one step."""
    replace_link(run.checkpoint(name), str(step))


def prune_checkpoints(run: RunDir, keep: int) -> None:
    """Remove all checkpoints except the newest `keep` and the targets of the links."""
    linked = {run.checkpoint(name).resolve().name for name in ("last", "best")}
    for step in run.steps()[:-keep]:
        if str(step) not in linked:
            # A removal that is interrupted leaves a damaged checkpoint, which `find_checkpoint`
            # passes over.
            shutil.rmtree(run.checkpoint(step))


def find_checkpoint(run: RunDir, name: str) -> tuple[Path, list[str]]:
    """Return the first intact checkpoint of `candidates`, and a warning per damaged one before it.

    Raises:
        UserError: no candidate is intact
    """
    warnings: list[str] = []
    for checkpoint in candidates(run, name):
        corruption = find_corruption(checkpoint)
        if corruption is None:
            return checkpoint, warnings
        warnings.append(f"{checkpoint}: damaged ({corruption}); using the previous one")
    detail = f": {'; '.join(warnings)}" if warnings else ""
    raise UserError(f"has no intact checkpoint '{name}'{detail}", str(run.path))


def candidates(run: RunDir, name: str) -> Iterator[Path]:
    """Yield checkpoints in order of preference: the requested one, older ones, newer ones.

    Args:
        run: the run to search
        name: best, last, or the number of an update, which has no substitute

    Raises:
        UserError: the run has no checkpoint of that name
    """
    steps = run.steps()
    if name.isdigit():
        if int(name) not in steps:
            known = ", ".join(map(str, steps)) or "none"
            raise UserError(f"has no checkpoint {name}; available: {known}", str(run.path))
        yield run.checkpoint(name)
        return
    if name not in ("best", "last"):
        message = f"unknown checkpoint '{name}'; use best, last, average or the number of an update"
        raise UserError(message)
    # Without a link, for example in a run before its first validation, start at the newest.
    target = run.checkpoint(name).resolve().name
    requested = int(target) if target.isdigit() else max(steps, default=0)
    # Newer ones come last: they were worse than the best one, and newer than "last" is only one
    # whose writer was killed before it replaced the link.
    for step in sorted(steps, key=lambda step: (step > requested, abs(step - requested))):
        yield run.checkpoint(step)


def find_corruption(checkpoint: Path) -> str | None:
    """Return a description of the first damaged file of a checkpoint; None if it is intact."""
    try:
        sums = (checkpoint / CHECKSUMS).read_text(encoding="utf-8").splitlines()
        for line in sums:
            expected, _, name = line.partition("  ")
            if sha256(checkpoint / name) != expected:
                return f"{name} does not match its checksum"
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return f"{CHECKSUMS} is not text"
    return None if sums else f"{CHECKSUMS} is empty"


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name."""
    return read_tensors(checkpoint / WEIGHTS)


def read_training_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint that training continues from."""
    return read_tensors(checkpoint / TRAINING)


def read_state(checkpoint: Path) -> JsonObject:
    """Return the JSON state of a checkpoint."""
    state: JsonObject = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        UserError: the file cannot be read as safetensors
    """
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"cannot be read: {error}", str(file)) from None


def average_weights(checkpoints: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of weights, summed in float64. Junczys-Dowmunt et al. 2016.

    Args:
        checkpoints: weights by name, with the same names in every checkpoint
    """
    total: dict[str, Tensor] = {}
    types: dict[str, torch.dtype] = {}
    count = 0
    # The iterable may read the checkpoints one by one, so that only one is in memory.
    for weights in checkpoints:
        count += 1
        for name, tensor in weights.items():
            total[name], types[name] = total.get(name, 0) + tensor.double(), tensor.dtype
    return {name: (total[name] / count).to(types[name]) for name in total}


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
