"""Checkpoints: written whole or not at all, without pickle, and exact."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from nmt.errors import UserError
from nmt.model.saved import MODEL, STATE, SUMS, TRAINING, Run, checksum


def write_checkpoint(
    run: Run,
    step: int,
    weights: Mapping[str, Tensor],
    training: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> Path:
    """Write a checkpoint aside, flush it to the disk, and give it its name.

    Args:
        run: whose checkpoint it is
        step: updates done
        weights: what a translator loads
        training: further tensors that training needs to go on
        state: everything else that training needs, as JSON

    Raises:
        UserError: when the disk takes no more
    """
    folder = run.checkpoints / str(step)
    aside = run.checkpoints / f".{step}.part"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        _write(aside, weights, training, state)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(
            f"the checkpoint cannot be written: {error}; the last one is kept, "
            "and the same command continues from there",
            str(run.checkpoints),
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    _flush_folder(run.checkpoints)
    point(run, "last", step)
    return folder


def _write(
    folder: Path,
    weights: Mapping[str, Tensor],
    training: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> None:
    folder.mkdir(parents=True)
    # From the tensors to the disk: as bytes in memory they would stand there once more.
    save_file(_contiguous(weights), folder / MODEL)
    save_file(_contiguous(training), folder / TRAINING)
    (folder / STATE).write_text(json.dumps(dict(state), indent=1) + "\n", encoding="utf-8")
    sums = [f"{_flushed(folder / name)}  {name}\n" for name in (MODEL, TRAINING, STATE)]
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")
    _flushed(folder / SUMS)


def point(run: Run, name: str, step: int) -> None:
    """Let the link `name` lead to the checkpoint of an update, in one move."""
    aside = run.checkpoints / f".{name}.part"
    aside.unlink(missing_ok=True)
    aside.symlink_to(str(step))
    os.replace(aside, run.checkpoints / name)


def prune(run: Run, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and those that a link leads to."""
    linked = {(run.checkpoints / name).resolve().name for name in ("last", "best")}
    for step in run.steps()[:-keep]:
        if str(step) not in linked:
            shutil.rmtree(run.checkpoints / str(step))


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as flat tensors, `optimizer.PARAMETER.NAME`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "optimizer":
            number, _, name = rest.partition(".")
            state.setdefault(int(number), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_states(rank: int = 0) -> dict[str, Tensor]:
    """The states of torch's generators in this process, by names of its own among several."""
    states = {_of_rank(rank, "cpu"): torch.get_rng_state()}
    if torch.cuda.is_available():
        states[_of_rank(rank, "cuda")] = torch.cuda.get_rng_state()
    return states


def restore_random_states(tensors: Mapping[str, Tensor], rank: int = 0) -> None:
    """Put back what `random_states` took."""
    torch.set_rng_state(tensors[_of_rank(rank, "cpu")])
    if torch.cuda.is_available() and _of_rank(rank, "cuda") in tensors:
        torch.cuda.set_rng_state(tensors[_of_rank(rank, "cuda")])


def _of_rank(rank: int, device: str) -> str:
    return f"random.{device}.{rank}" if rank else f"random.{device}"


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _flushed(file: Path) -> str:
    """The sha256 of a file that is on the disk now."""
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())
    return checksum(file)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
