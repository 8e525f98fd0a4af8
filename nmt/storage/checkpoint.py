"""Checkpoints: written completely or not at all, verified by checksum, and free of pickle.

A checkpoint is a directory named by its update. It holds the weights, further tensors that training
continues from, the remaining state as JSON, and the checksums of these three files.
"""

import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nmt.errors import UserError, file_error
from nmt.files import MAX_CHECKSUMS_BYTES
from nmt.storage.atomic import (
    JsonObject,
    exists,
    file_errors,
    is_regular,
    move_aside,
    publish_dir,
    replace_link,
    staging_dir,
)
from nmt.storage.checkpoint_state import check_state
from nmt.storage.checksums import CHECKSUMS, parse_checksums, sha256, write_checksums
from nmt.storage.run_dir import RunDir

WEIGHTS, TRAINING, STATE = "model.safetensors", "training.safetensors", "state.json"
FILES = (WEIGHTS, TRAINING, STATE)
TRANSLATION_FILES = (WEIGHTS, STATE)
"""Files that translation reads; a copy of a run without the others translates."""
NO_CHECKSUMS = "has no checksums, so damage of the copy would not be noticed"

# Names of safetensors; the other types are those of integers.
FLOAT_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}

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
            (staging / STATE).write_text(json.dumps(dict(state), indent=1) + "\n", encoding="utf-8")
            # Straight from the tensors to the disk: serialized in memory they would need it twice.
            save_file(_contiguous(weights), staging / WEIGHTS)
            save_file(_contiguous(training), staging / TRAINING)
            for name in (WEIGHTS, TRAINING):  # safetensors ignores the umask
                shutil.copymode(staging / STATE, staging / name)
            write_checksums(staging, FILES)
            if exists(target) and not is_checkpoint(target):
                move_aside(target)
            publish_dir(staging, target)
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"the checkpoint cannot be written: {_reason(error)}; the previous one is kept, "
                "and the same command continues from it",
                str(run.checkpoints),
            ) from None
    link_checkpoint(run, "last", step)
    return target


def _reason(error: Exception) -> str:
    """Return why a checkpoint cannot be written."""
    # safetensors reports an error of the system by its number in a text.
    number = re.search(r"code: (\d+)", str(error))
    if number:
        return os.strerror(int(number[1]))
    return getattr(error, "strerror", None) or str(error)


def link_checkpoint(run: RunDir, name: Link, step: int) -> None:
    """Let a link point to the checkpoint of an update, replacing it in one step."""
    link = run.checkpoint(name)
    if link.is_dir() and not link.is_symlink():
        # A copy of the run that has followed the link.
        if is_checkpoint(link):
            shutil.rmtree(link, ignore_errors=True)
        if exists(link):
            move_aside(link)
    replace_link(link, str(step))


def is_checkpoint(path: Path) -> bool:
    """Return whether a path is a directory with no other files than those of a checkpoint."""
    if path.is_symlink() or not path.is_dir():
        return False
    return {entry.name for entry in path.iterdir()} <= {*FILES, CHECKSUMS}


def is_minimal(checkpoint: Path) -> bool:
    """Return whether a directory has the weights of a checkpoint, and no state of training."""
    return is_regular(checkpoint / WEIGHTS) and not (
        exists(checkpoint / STATE) or exists(checkpoint / TRAINING)
    )


def find_corruption(checkpoint: Path, files: Sequence[str] = FILES) -> str | None:
    """Return a description of the first damaged file of a checkpoint; None if it is intact.

    Args:
        checkpoint: directory of the checkpoint
        files: the files to verify

    Raises:
        UserError: a file may not be read, which is no damage
    """
    try:
        if (wrong := _not_regular(checkpoint / CHECKSUMS)) is not None:
            return wrong
        with (checkpoint / CHECKSUMS).open("rb") as stream:
            sums = parse_checksums(stream.read(MAX_CHECKSUMS_BYTES).decode("utf-8"))
        if not sums:
            return f"{CHECKSUMS} is empty"
        for name in files:
            if name not in sums:
                return f"{CHECKSUMS} does not list {name}"
            if (wrong := _not_regular(checkpoint / name)) is not None:
                return wrong
            if sha256(checkpoint / name) != sums[name]:
                return f"{name} does not match its checksum"
    except PermissionError as error:
        raise file_error(error, failed="cannot be read") from error
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return f"{CHECKSUMS} is not text"
    return None


def _not_regular(file: Path) -> str | None:
    """Return the complaint about a directory, pipe or device, which must not be opened."""
    return None if stat.S_ISREG(file.stat().st_mode) else f"{file.name} is not a regular file"


def weights_checksum(checkpoint: Path) -> str:
    """Return the SHA-256 of the weights of a checkpoint."""
    with file_errors(checkpoint, "cannot be read"):
        return sha256(checkpoint / WEIGHTS)


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name."""
    return read_tensors(checkpoint / WEIGHTS)


def read_training_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint that training continues from."""
    return read_tensors(checkpoint / TRAINING)


def read_state(checkpoint: Path) -> JsonObject:
    """Return the JSON state of a checkpoint.

    Raises:
        UserError: the file is not a JSON object, or has a value of another kind
    """
    file = checkpoint / STATE
    try:
        with file_errors(file, "cannot be read"):
            state = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise UserError("is not a JSON object", str(file))
    check_state(state, str(file))
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


def read_weight_shapes(checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint as tensors without memory, from the header of the file.

    Raises:
        UserError: the file cannot be read as safetensors
    """
    file = checkpoint / WEIGHTS
    shapes = {}
    try:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a mapping)
                header = opened.get_slice(name)
                dtype = FLOAT_TYPES.get(header.get_dtype(), torch.int64)
                shapes[name] = torch.empty(header.get_shape(), dtype=dtype, device="meta")
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(f"cannot be read: {error}", str(file)) from None
    return shapes


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
