"""Saving and restoring of the whole training state, so that a continued run is bit-identical.

If the parameters are averaged, model.safetensors holds the averages, because a translator uses
them, and training.safetensors holds the parameters themselves.

A thread writes the files from a copy of the state in the memory of the host, while training goes
on. The copy takes 12 bytes per parameter with Adam, and 16 with averages, until it is written.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nmt.errors import UserError, is_out_of_memory, printable
from nmt.model.weights import load_weights, rename_weights, training_buffers, weight_tensors
from nmt.prefetch import run_in_thread
from nmt.storage.atomic import JsonObject
from nmt.storage.checkpoint import (
    FILES,
    STATE,
    link_checkpoint,
    read_state,
    read_training_tensors,
    read_weights,
    write_checkpoint,
)
from nmt.storage.checkpoint_state import check_complete
from nmt.storage.run_checkpoints import (
    adopt_copied_links,
    find_checkpoint,
    prune_checkpoints,
    repair_links,
)
from nmt.storage.run_dir import RunDir
from nmt.storage.run_inputs import recorded_inputs
from nmt.training.best_metric import BestMetricTracker
from nmt.training.ema import ExponentialMovingAverage, applied
from nmt.training.metrics_log import RunningLoss
from nmt.training.text_record import check_texts
from nmt.training.trainer import Trainer

log = logging.getLogger("nmt")

RAW = "raw."
"""Prefix of the parameters themselves, if model.safetensors holds their moving average."""

BUFFER = "buffer."
"""Prefix of the buffers that are not weights."""


class Checkpointer:
    """Writer and reader of the checkpoints of a run.

    At most one checkpoint is being written. A context manager, which waits for it at the end.

    Args:
        run: the run directory
        trainer: model, optimizer, schedule, loss scale, position in the data and time so far
        best: best validation so far
        running: loss that is not logged yet
        average: average of the parameters, which translation uses; None for none
        inputs: record of everything that decides the weights, which becomes part of checkpoints
        keep: number of checkpoints to keep in addition to the best
    """

    def __init__(
        self,
        run: RunDir,
        trainer: Trainer,
        best: BestMetricTracker,
        running: RunningLoss,
        average: ExponentialMovingAverage | None,
        *,
        inputs: JsonObject,
        keep: int,
    ) -> None:
        self._run, self._trainer, self._best = run, trainer, best
        self._running, self._average = running, average
        self._inputs, self._keep = inputs, keep
        self._writing: Future[None] | None = None

    def save(self) -> None:
        """Start to write a checkpoint of the current state; called by all ranks.

        The first rank writes it, after the previous one.

        Raises:
            UserError: the previous checkpoint could not be written
        """
        self.wait()
        self._trainer.flush()
        process_group = self._trainer.process_group
        # Parameters and optimizer are the same on all ranks, but random states are not.
        random = process_group.gather(random_states(process_group.rank))
        if process_group.is_first:
            states = {name: state for states in random for name, state in states.items()}
            self._writing = run_in_thread("nmt-checkpoint", self._snapshot(states))

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            UserError: it could not be written
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    @property
    def has_failed(self) -> bool:
        """Return whether the last checkpoint could not be written, which `wait` raises."""
        writing = self._writing
        return writing is not None and writing.done() and writing.exception() is not None

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self.wait()
        except UserError as failure:
            if error is None:
                raise
            log.warning("%s", failure)

    def _snapshot(self, random: dict[str, Tensor]) -> Callable[[], None]:
        """Copy the state of training; return the function that writes the copy."""
        model, best_step = self._trainer.model, self._best.best_step
        training = optimizer_tensors(self._trainer.optimizer) | random
        buffers = training_buffers(model).items()
        training |= {f"{BUFFER}{name}": buffer for name, buffer in buffers}
        if self._average is not None:
            training |= {f"{RAW}{name}": one for name, one in model.named_parameters()}
        training = _copies(training)
        with applied(self._average):
            weights = _copies(weight_tensors(model))
        step, state = self._trainer.state.step, deepcopy(self._state())
        return partial(self._write, step, weights, training, state, best_step)

    def _write(
        self,
        step: int,
        weights: dict[str, Tensor],
        training: dict[str, Tensor],
        state: JsonObject,
        best_step: int,
    ) -> None:
        write_checkpoint(self._run, step, weights, training, state)
        # After the checkpoint is complete, so that the link never dangles.
        if best_step == step:
            link_checkpoint(self._run, "best", step)
        prune_checkpoints(self._run, self._keep, best=best_step)

    def _state(self) -> JsonObject:
        """Return the contents of state.json.

        Its keys are fixed, so that runs of earlier versions continue.
        """
        trainer = self._trainer
        return trainer.state_dict() | {
            "ranks": trainer.process_group.world_size,
            "minutes": trainer.timer.minutes,
            "watch": self._best.state_dict(),
            "tally": self._running.state_dict(),
            "inputs": self._inputs,
        }

    def restore(self) -> list[str]:
        """Restore the newest intact checkpoint; return warnings about damaged ones.

        Raises:
            UserError: no checkpoint is intact, or the text is another one
        """
        trainer = self._trainer
        checkpoint, warnings = trainer.process_group.on_first(self._find)
        state, training = read_state(checkpoint), read_training_tensors(checkpoint)
        check_complete(state, str(checkpoint / STATE))
        recorded = recorded_inputs(state)
        check_texts(recorded.get("texts", {}), self._inputs["texts"], state["step"])
        # Known only to the process that has loaded the weights of the other run.
        self._inputs |= {key: recorded[key] for key in ("start_from",) if key in recorded}
        weights = rename_weights(read_weights(checkpoint), trainer.model)
        if self._average is not None:
            self._average.load_state_dict(weights)
            # The averages are restored; the model continues from its own parameters.
            parameters = {
                name.removeprefix(RAW): tensor
                for name, tensor in training.items()
                if name.startswith(RAW)
            }
            weights |= rename_weights(parameters, trainer.model)
        load_weights(trainer.model, weights, str(checkpoint))
        with _errors_of_content(checkpoint):
            restore_buffers(trainer.model, training, weights)
            restore_optimizer(trainer.optimizer, training)
            trainer.load_state_dict(state)
            self._best.load_state_dict(state["watch"])
            trainer.timer.restart(state["minutes"])
            self._running.load_state_dict(state["tally"])
            warnings += self._restore_random_states(state, training)
        self.repair_links()
        return warnings

    def repair_links(self) -> None:
        """Point the links to the restored checkpoint and to the best one."""
        if self._trainer.process_group.is_first:
            repair_links(self._run, self._trainer.state.step, self._best.best_step)

    def _find(self) -> tuple[Path, list[str]]:
        adopt_copied_links(self._run)
        return find_checkpoint(self._run, "last", FILES)

    def _restore_random_states(self, state: JsonObject, training: dict[str, Tensor]) -> list[str]:
        group, written_by = self._trainer.process_group, state.get("ranks", 1)
        if written_by == group.world_size:
            restore_random_states(training, group.rank)
            return []
        # No exact continuation exists; a seed of its own keeps the run repeatable all the same.
        torch.manual_seed(torch.initial_seed() + state["step"])
        return [
            f"the last checkpoint was written by {written_by} processes, and this run has "
            f"{group.world_size}: every sentence is still read once per epoch, but an update now "
            f"takes {group.world_size} times 'accumulate' batches, and dropout uses new random "
            "numbers"
        ]


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors in the memory of the host."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


@contextmanager
def _errors_of_content(checkpoint: Path) -> Iterator[None]:
    """Report the content of a checkpoint that does not fit the model and its optimizer."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        reason = printable(f"{type(error).__name__}: {error}")
        message = f"does not fit the model and its optimizer ({reason}); use another checkpoint"
        raise UserError(message, str(checkpoint)) from error


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as tensors named `optimizer.PARAMETER.NAME`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned; other tensors are ignored.

    Raises:
        ValueError: a tensor belongs to no parameter, or does not have its shape
    """
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    shapes = {str(number): one.shape for number, one in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "optimizer":
            number, _, name = rest.partition(".")
            # Scalars are counts of steps, for parameters of all shapes.
            if number not in shapes or (tensor.dim() and tensor.shape != shapes[number]):
                raise ValueError(f"{key} has shape {list(tensor.shape)}")
            state.setdefault(int(number), {})[name] = tensor
    # The options of the groups come from the config; only the state of the parameters is stored.
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


@torch.no_grad()
def restore_buffers(
    model: nn.Module, training: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> None:
    """Restore the buffers of a model that are not weights.

    Args:
        model: the model to change
        training: tensors of the training state
        weights: the weights, which held such buffers in earlier versions
    """
    for name, buffer in training_buffers(model).items():
        saved = training.get(f"{BUFFER}{name}", weights.get(name))
        if saved is not None:
            buffer.copy_(saved)


def random_states(rank: int = 0) -> dict[str, Tensor]:
    """Return the states of torch's generators in this process, under names with the rank."""
    states = {_random_name("cpu", rank): torch.get_rng_state()}
    if torch.cuda.is_available():
        states[_random_name("cuda", rank)] = torch.cuda.get_rng_state()
    return states


def restore_random_states(tensors: Mapping[str, Tensor], rank: int = 0) -> None:
    """Restore the states that `random_states` returned."""
    torch.set_rng_state(tensors[_random_name("cpu", rank)])
    cuda = _random_name("cuda", rank)
    if torch.cuda.is_available() and cuda in tensors:
        torch.cuda.set_rng_state(tensors[cuda])


def _random_name(device: str, rank: int) -> str:
    return f"random.{device}.{rank}" if rank else f"random.{device}"
