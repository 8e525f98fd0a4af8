"""Checks of whole updates: the same bits again, continuation, and updates that are not finite."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu_checks.context import Context, read_system
from gpu_checks.results import Case, Result, compare, require
from gpu_checks.systems import SPECIAL_TOKENS, System, Tensors
from nmt.cli.process import configure_process
from nmt.data.batch import Batch
from nmt.data.loader import BatchLoader, IndexedBatch, Position, UpdateBatch
from nmt.errors import UserError
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import OPTIMIZERS, SCHEDULES, ComponentConfig
from nmt.training.loss import CPU_CHUNK, GPU_CHUNK
from nmt.training.precision import Precision
from nmt.training.trainer import Trainer

OPTIMIZER_NAMES = ("adam", "adamw", "sgd")
LEARNING_RATE, MOMENTUM = 0.1, 0.9


def make_trainer(
    model: Seq2Seq,
    precision: str,
    optimizer: str = "adam",
    options: dict[str, Any] | None = None,
    *,
    uses_graphs: bool = False,
) -> Trainer:
    """Return a trainer of a model, on the device of its parameters."""
    device = next(model.parameters()).device
    return Trainer(
        model,
        OPTIMIZERS.build(ComponentConfig(optimizer, options or {}), model.parameters()),
        SCHEDULES.build(ComponentConfig("constant")),
        BatchLoader.__new__(BatchLoader),  # unused: batches are passed to `update`
        Precision(precision, device),
        label_smoothing=0.1,
        output_chunk=GPU_CHUNK if device.type == "cuda" else CPU_CHUNK,
        uses_graphs=uses_graphs,
    )


def make_group(batch: Batch, *, few_shapes: bool = False) -> UpdateBatch:
    """Return the batches of an update with a single one, which graphs need in few shapes."""
    if few_shapes:
        source_pad = SPECIAL_TOKENS.pad if batch.source.dtype == torch.int64 else None
        batch = batch.round_lengths(source_pad, SPECIAL_TOKENS.pad)
    lines = np.arange(len(batch.target_out_bt))
    return UpdateBatch([IndexedBatch(batch, lines)], batch.target_tokens, Position(0, 1))


def updated(
    context: Context, one: System, precision: str, *, uses_graphs: bool, updates: int
) -> tuple[Tensors, Trainer]:
    """Return the parameters after some updates by plain SGD, and the trainer.

    Adam would divide gradients by their own size, which makes rounding errors as large as they are.
    """
    model, _ = one.on(context.device, torch.float32, "auto")
    options = {"learning_rate": LEARNING_RATE}
    trainer = make_trainer(model, precision, "sgd", options, uses_graphs=uses_graphs)
    group = make_group(one.batch, few_shapes=uses_graphs).for_gpu()
    for _ in range(updates):
        trainer.update(group)
    trainer.flush()
    return weights(model), trainer


def weights(model: Seq2Seq) -> Tensors:
    """Return copies of all parameters on the CPU."""
    return {name: p.detach().double().cpu() for name, p in model.named_parameters()}


def repeat(context: Context) -> list[Case]:
    """Return the cases of `training.deterministic`."""
    configure_process(context.device_name, deterministic=True)
    return [Case(name, partial(_repeat, context, name)) for name in ("dates", "dates_gnmt")]


def _repeat(context: Context, name: str) -> Iterator[Result]:
    """Compare bits of two runs, and of a run that was saved and continued."""
    # Dropout, so that the state of the random numbers matters.
    one = System(replace(read_system(name), embedding_dropout=0.3))
    once, again = (_run(context, one) for _ in range(2))
    yield require(f"{name}: two runs have the same bits", *_same(once, again))
    with tempfile.TemporaryDirectory() as folder:
        continued = _run(context, one, Path(folder) / "saved.pt")
    yield require(f"{name}: a continued run has the same bits", *_same(once, continued))


def _run(context: Context, one: System, saved: Path | None = None) -> Tensors:
    """Return the parameters after four updates; with a file, saved and continued half-way."""
    trainer = _training(context, one)
    torch.manual_seed(5)
    for number in range(4):
        if number == 2 and saved is not None:
            _save(trainer, saved)
            torch.manual_seed(6)  # lost, unless the file contains the state
            trainer = _training(context, one)
            _load(trainer, saved)
        group = make_group(one.batch)
        trainer.update(group.for_gpu() if context.is_gpu else group)
    trainer.flush()
    return weights(trainer.model)


def _training(context: Context, one: System) -> Trainer:
    model, _ = one.on(context.device, torch.float32, "auto")
    return make_trainer(model, "bf16")


def _save(trainer: Trainer, path: Path) -> None:
    random = [torch.get_rng_state()]
    if trainer.precision.device.type == "cuda":
        random.append(torch.cuda.get_rng_state())
    parts = (trainer.model.state_dict(), trainer.optimizer.state_dict(), trainer.state_dict())
    torch.save([*parts, random], path)


def _load(trainer: Trainer, path: Path) -> None:
    model, optimizer, state, random = torch.load(path, map_location="cpu", weights_only=True)
    trainer.model.load_state_dict(model)
    trainer.optimizer.load_state_dict(optimizer)
    trainer.load_state_dict(state)
    torch.set_rng_state(random[0])
    if len(random) > 1:
        torch.cuda.set_rng_state(random[1])


def _same(one: Tensors, other: Tensors) -> tuple[bool, str]:
    different = [name for name, value in one.items() if not value.equal(other[name])]
    return not different, f"{len(different)} of {len(one)} parameters differ {different[:3]}"


def nonfinite(context: Context) -> list[Case]:
    """Return the cases of updates that are not finite."""
    cases = [Case(name, partial(_nonfinite, context, name)) for name in OPTIMIZER_NAMES]
    if context.is_gpu:
        cases.append(Case("sgd with momentum, fp16", partial(_momentum, context)))
    return cases


def _nonfinite(context: Context, optimizer: str) -> Iterator[Result]:
    """Check that such an update changes no parameter and is reported."""
    one = System(read_system("dates"))
    model, _ = one.on(context.device, torch.float32, "auto")
    trainer = make_trainer(model, "fp32", optimizer)
    trainer.update(make_group(one.batch))
    before = weights(model)
    broken: Any = next(model.parameters())
    broken.register_hook(lambda gradient: gradient * float("inf"))
    reported = ""
    try:
        trainer.update(make_group(one.batch))
        trainer.flush()
    except UserError as error:
        reported = str(error)
    yield require(f"{optimizer}: update is reported", bool(reported), reported)
    yield require(f"{optimizer}: no parameter changes", *_same(weights(model), before))


def _momentum(context: Context) -> Iterator[Result]:
    """Check the length of updates with momentum, the first of which overflow in fp16.

    The norm of a gradient is at most 1, so those of five updates add up to at most the sum of
    1 - MOMENTUM**n, divided by 1 - MOMENTUM and times the learning rate.
    """
    one = System(read_system("dates"))
    model, _ = one.on(context.device, torch.float32, "auto")
    options = {"learning_rate": LEARNING_RATE, "momentum": MOMENTUM}
    trainer, before = make_trainer(model, "fp16", "sgd", options), weights(model)
    for _ in range(5):
        trainer.update(make_group(one.batch))
    trainer.flush()
    moved = sum(float((p - before[name]).square().sum()) for name, p in weights(model).items())
    longest = LEARNING_RATE * sum((1 - MOMENTUM**n) / (1 - MOMENTUM) for n in range(1, 6))
    yield compare("sgd with momentum, fp16: path of 5 updates", moved**0.5, 1.01 * longest)
