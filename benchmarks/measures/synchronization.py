"""Checks that updates and search steps do not synchronize with the device."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from measures.correctness import Check, System
from nmt.config.loader import load_experiment
from nmt.data.batch import Batch
from nmt.data.loader import BatchLoader, IndexedBatch, Position, UpdateBatch
from nmt.errors import UserError
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import OPTIMIZERS, SCHEDULES, ComponentConfig
from nmt.search.step import Step
from nmt.training.precision import Precision
from nmt.training.trainer import Trainer

SKIPPING = ("adam", "adamw", "sgd")


def update_checks(config: Path, device: torch.device) -> Iterator[Check]:
    """Check that an update with a non-finite gradient changes no parameter and is reported."""
    system = System(load_experiment(config).experiment)
    for optimizer in SKIPPING:
        change = _change_by_nonfinite_update(system, device, optimizer)
        yield Check("non-finite update changes no parameter", optimizer, change, 0.0)


def waiting_checks(configs: list[Path], device: torch.device) -> Iterator[Check]:
    """Run updates and searches of every system on a GPU with torch's synchronization check."""
    for config in configs:
        system = System(load_experiment(config).experiment)
        model, batch = system.on(device, torch.float32)
        trainer, group = _trainer(model, device, "adam", "bf16"), _group(batch)
        trainer.update(group)  # compiles kernels
        syncs = _synchronizes(partial(_update, trainer, group))
        trainer.flush()
        yield Check(f"update does not synchronize, {config.stem}", "bf16", syncs, 0.0)
        syncs = _synchronizes(partial(system.search, device, _checked))
        yield Check(f"search does not synchronize, {config.stem}", "fp32", syncs, 0.0)


def _change_by_nonfinite_update(system: System, device: torch.device, optimizer: str) -> float:
    """Return the largest change of a parameter; infinity if no error is raised."""
    model, batch = system.on(device, torch.float32)
    trainer = _trainer(model, device, optimizer, "fp32")
    trainer.update(_group(batch))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    broken: Any = next(model.parameters())
    broken.register_hook(lambda gradient: gradient * float("inf"))
    try:
        trainer.update(_group(batch))
        trainer.flush()
    except UserError:
        pairs = zip(model.parameters(), before, strict=True)
        return max(float((now.detach() - then).abs().max()) for now, then in pairs)
    return float("inf")


def _trainer(model: Seq2Seq, device: torch.device, optimizer: str, precision: str) -> Trainer:
    return Trainer(
        model,
        OPTIMIZERS.build(ComponentConfig(optimizer), model.parameters()),
        SCHEDULES.build(ComponentConfig("constant")),
        BatchLoader.__new__(BatchLoader),  # unused: batches are passed to `update`
        Precision(precision, device),
        label_smoothing=0.1,
    )


def _group(batch: Batch) -> UpdateBatch:
    lines = np.arange(len(batch.target_out_bt))
    return UpdateBatch([IndexedBatch(batch, lines)], batch.target_tokens, Position(0, 1))


def _update(trainer: Trainer, group: UpdateBatch) -> None:
    torch.cuda.set_sync_debug_mode("error")
    trainer.update(group)


def _synchronizes(work: Callable[[], object]) -> float:
    """Return 1 if torch detects a synchronization, and print its message."""
    try:
        work()
    except RuntimeError as error:
        print(f"synchronization: {error}", file=sys.stderr)
        return 1.0
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return 0.0


def _checked(step: Step) -> Step:
    """Check from the first step on; a search may synchronize before it."""

    def checked(*given: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        return step(*given)

    return checked
