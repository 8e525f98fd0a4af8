"""Models of `configs/` with random weights and batches, and the distance between two results."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpu_checks.context import SystemConfig
from nmt.config.choices import RecurrenceBackend
from nmt.data.batch import Batch, collate, combine, pad
from nmt.data.images import ImageSize
from nmt.data.special_tokens import SpecialTokens
from nmt.model.build import build_model
from nmt.model.recurrence import fused
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES, ComponentConfig
from nmt.search.beam import beam_search
from nmt.search.hypothesis import Hypothesis
from nmt.search.step import Step
from nmt.training.batch_loss import batch_loss
from nmt.training.precision import Precision

VOCABULARY, MAX_LENGTH = 400, 30
SPECIAL_TOKENS = SpecialTokens(0, 1, 2)
FLOOR = 1e-4
"""Share of the norm of all gradients below which the norm of one gradient counts as this share.

Gradients that are zero in exact arithmetic, such as that of the bias of keys, have rounding errors.
"""

LOSS_SCALE = 1024.0

Tensors = dict[str, Tensor]


class System:
    """The model of a configuration with random weights, and a random batch.

    Args:
        config: the configuration
        pairs: sentence pairs of the batch
    """

    def __init__(self, config: SystemConfig, pairs: int = 12) -> None:
        self.config, self.pairs = config, pairs
        generator = np.random.default_rng(1)
        targets = self._sentences(generator)
        if config.image_size is None:
            sources = self._sentences(generator)
            self.batch = collate(sources, targets, SPECIAL_TOKENS, SPECIAL_TOKENS)
        else:
            images = _images(generator, config.image_size, pairs)
            mask_bs = np.ones((len(images), 1), bool)
            padded = pad(targets, SPECIAL_TOKENS)
            self.batch = combine(images, mask_bs, *padded, SPECIAL_TOKENS)
        torch.manual_seed(2)
        self.model = self._build()

    def _sentences(self, generator: np.random.Generator) -> list[np.ndarray]:
        lengths = generator.integers(3, MAX_LENGTH, self.pairs)
        return [generator.integers(3, VOCABULARY, length) for length in lengths]

    def _build(self, recurrence: RecurrenceBackend = "eager") -> Seq2Seq:
        source = self.config.image_size or VOCABULARY
        return build_model(self.config, source, VOCABULARY, recurrence=recurrence).eval()

    def on(
        self, device: torch.device, dtype: torch.dtype, recurrence: RecurrenceBackend = "eager"
    ) -> tuple[Seq2Seq, Batch]:
        """Copy the model and the batch to a device."""
        model = self._build(recurrence)
        model.load_state_dict(self.model.state_dict())
        batch = self.batch
        if device.type == "cuda" and recurrence != "eager":
            batch = batch.with_groups()  # as in training, for the kernel of embedding gradients
        batch = batch.to(device)
        if batch.source.is_floating_point():
            batch = batch._replace(source=batch.source.to(dtype))
        return model.to(device, dtype), batch

    def exact(self) -> Tensors:
        """Return the loss and all gradients in float64 on the CPU."""
        return _results(*self.on(torch.device("cpu"), torch.float64), "fp32")

    def results(
        self, device: torch.device, precision: str, recurrence: RecurrenceBackend = "eager"
    ) -> Tensors:
        """Return the loss and all gradients of a device, in float64 on the CPU."""
        return _results(*self.on(device, torch.float32, recurrence), precision)

    def search(
        self, step: Step, memory: Any, state: Any, batch: Batch, beam_size: int = 5
    ) -> list[Hypothesis]:
        """Return the best translation of each source of a batch."""
        found = beam_search(
            step,
            memory,
            state,
            bos=SPECIAL_TOKENS.bos,
            eos=SPECIAL_TOKENS.eos,
            beam_size=beam_size,
            max_lengths_b=[MAX_LENGTH] * len(batch.source),
            length_penalty=LENGTH_PENALTIES.build(ComponentConfig("average")),
            coverage_penalty=COVERAGE_PENALTIES.build(ComponentConfig("none")),
            source_mask_bs=batch.source_mask_bs if self.config.image_size is None else None,
        )
        return [best[0] for best in found]


def _results(model: Seq2Seq, batch: Batch, precision_name: str) -> Tensors:
    precision = Precision(precision_name, batch.source.device)
    if precision.scaler.is_enabled():
        # A training skips updates until its loss scale is small enough.
        precision.scaler = torch.amp.GradScaler(batch.source.device.type, init_scale=LOSS_SCALE)
    with precision.autocast():
        loss, _ = batch_loss(model, batch, smoothing=0.1, chunk=256)
    precision.backward(loss / batch.target_tokens)
    scale = precision.scaler.get_scale()  # 1 without a loss scale
    found = {name: p.grad / scale for name, p in model.named_parameters() if p.grad is not None}
    found["loss"] = loss.detach()
    return {name: value.double().cpu() for name, value in found.items()}


def distance(found: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> tuple[float, str]:
    """Return the largest relative error of a tensor, and the name of that tensor.

    Relative to the norm of the tensor itself, so that every gradient counts, however small it is;
    but at least to `FLOOR` times the norm of all gradients. NaN exceeds everything.

    Raises:
        ValueError: different parameters have gradients
    """
    if found.keys() != exact.keys():
        names = ", ".join(sorted(found.keys() ^ exact.keys()))
        raise ValueError(f"gradients on one side only: {names}")
    norms = {name: float(value.norm()) for name, value in exact.items()}
    total = float(np.hypot.reduce([norm for name, norm in norms.items() if name != "loss"]))
    errors = {
        name: float((found[name] - exact[name]).norm())
        / (norm if name == "loss" else max(norm, FLOOR * total))
        for name, norm in norms.items()
    }
    worst = max(errors, key=lambda name: float("inf") if np.isnan(errors[name]) else errors[name])
    return errors[worst], worst


@contextmanager
def record_ops() -> Iterator[set[str]]:
    """Record the operations that run fused recurrences, by the names of their classes."""
    used: set[str] = set()
    choose = fused.choose_ops

    def recorded(*arguments: Any, **options: Any) -> Any:
        ops = choose(*arguments, **options)
        used.add(type(ops).__name__)
        return ops

    fused.choose_ops = recorded
    try:
        yield used
    finally:
        fused.choose_ops = choose


def _images(generator: np.random.Generator, size: ImageSize, number: int) -> np.ndarray:
    if size.size is not None:
        return generator.integers(0, 256, (number, 3, size.size, size.size), dtype=np.uint8)
    assert size.features is not None
    return generator.standard_normal((number, size.positions, size.features), dtype=np.float32)
