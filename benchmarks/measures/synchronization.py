"""That nothing waits for a GPU between two steps, and that it leaves out an update by itself."""

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
    """An update whose gradient is no number changes no parameter and is told, on any device."""
    system = System(load_experiment(config).experiment)
    for optimizer in SKIPPING:
        change = _change_of_an_unsound_update(system, device, optimizer)
        yield Check("an update that is no number changes nothing", optimizer, change, 0.0)


def waiting_checks(configs: list[Path], device: torch.device) -> Iterator[Check]:
    """Updates and searches of every system on a GPU, where torch forbids to wait."""
    for config in configs:
        system = System(load_experiment(config).experiment)
        model, batch = system.on(device, torch.float32)
        trainer, group = _trainer(model, device, "adam", "bf16"), _group(batch)
        trainer.update(group)  # compiles what there is to compile
        waits = _waits(partial(_update, trainer, group))
        trainer.flush()
        yield Check(f"an update waits for nothing, {config.stem}", "bf16", waits, 0.0)
        waits = _waits(partial(system.search, device, _watched))
        yield Check(f"a search waits for nothing, {config.stem}", "fp32", waits, 0.0)


def _change_of_an_unsound_update(system: System, device: torch.device, optimizer: str) -> float:
    """How far parameters moved; endless when nothing was told."""
    model, batch = system.on(device, torch.float32)
    trainer = _trainer(model, device, optimizer, "fp32")
    trainer.update(_group(batch))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    spoiled: Any = next(model.parameters())
    spoiled.register_hook(lambda gradient: gradient * float("inf"))
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
        BatchLoader.__new__(BatchLoader),  # the batch is given
        Precision(precision, device),
        label_smoothing=0.1,
    )


def _group(batch: Batch) -> UpdateBatch:
    lines = np.arange(len(batch.target_out_bt))
    return UpdateBatch([IndexedBatch(batch, lines)], batch.target_tokens, Position(0, 1))


def _update(trainer: Trainer, group: UpdateBatch) -> None:
    torch.cuda.set_sync_debug_mode("error")
    trainer.update(group)


def _waits(work: Callable[[], object]) -> float:
    """1 when torch saw that something was waited for that must not be; it says what."""
    try:
        work()
    except RuntimeError as error:
        print(f"waits: {error}", file=sys.stderr)
        return 1.0
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return 0.0


def _watched(step: Step) -> Step:
    """From the first step on; a search may wait before it."""

    def watched(*given: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        return step(*given)

    return watched
