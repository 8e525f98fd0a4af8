"""Checks of a device against float64 on the CPU, for all recurrence backends and number formats."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.results import Row
from nmt.config.choices import RecurrenceBackend
from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment, ModelConfig
from nmt.data.batch import Batch, collate, collate_images
from nmt.data.images import ImageSize
from nmt.data.special_tokens import SpecialTokens
from nmt.device import autocast
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES, ComponentConfig
from nmt.search.beam import beam_search
from nmt.search.step import Step
from nmt.training.loss import batch_loss

VOCABULARY, PAIRS, MAX_LENGTH = 400, 12, 30
SPECIAL_TOKENS = SpecialTokens(0, 1, 2)
LIMITS = {"fp32": 1e-3, "bf16": 0.3, "fp16": 0.1}
"""Relative error of the gradient.

bf16 and fp16 round with relative errors of 2^-9 and 2^-12, which can change the position that hard
attention reads.
"""


@dataclass(frozen=True)
class Check:
    """A comparison of a result with its expected value.

    Attributes:
        what: the result
        how: recurrence backend and number format
        error: distance from the expected value
        limit: largest accepted error
    """

    what: str
    how: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        """Return whether the error is within the limit; False for NaN."""
        return self.error <= self.limit

    @property
    def row(self) -> Row:
        """Return the check as a row of a table."""
        verdict = "passed" if self.passed else "FAILED"
        note = f"{verdict}: at most {self.limit:g}"
        return Row(f"check: {self.what}", self.how, "error", [self.error], {}, note=note)


def checks(configs: Iterable[Path], device: torch.device) -> Iterator[Check]:
    """Check gradients and translations of the system of every config."""
    for config in configs:
        experiment = load_experiment(config).experiment
        system = System(experiment)
        exact = system.results(torch.device("cpu"), torch.float64)
        for backend, precision in _backends(device):
            found = system.results(device, torch.float32, backend, precision)
            error = _distance(found, exact)
            how = f"{backend} {precision}"
            yield Check(f"gradients, {config.stem}", how, error, LIMITS[precision])
        yield Check(f"search, {config.stem}", "fp32", system.search_difference(device), 0.1)


def _backends(device: torch.device) -> list[tuple[RecurrenceBackend, str]]:
    if device.type == "cpu":
        return [("eager", "fp32"), ("auto", "fp32"), ("eager", "bf16")]
    return [("eager", "fp32"), ("auto", "fp32"), ("auto", "bf16"), ("auto", "fp16")]


class System:
    """The model of an experiment with random weights, and a random batch."""

    def __init__(self, experiment: Experiment) -> None:
        self.config = experiment.model
        self.images = ImageSize.from_config(experiment.data.pictures)
        generator = np.random.default_rng(1)
        targets = _sentences(generator)
        if self.images is None:
            self.batch = collate(_sentences(generator), targets, SPECIAL_TOKENS, SPECIAL_TOKENS)
        else:
            self.batch = collate_images(_draw(generator, self.images), targets, SPECIAL_TOKENS)
        torch.manual_seed(2)
        self.model = self._build()

    def _build(self, recurrence: RecurrenceBackend = "eager") -> Seq2Seq:
        source = self.images or VOCABULARY
        return build_model(self.config, source, VOCABULARY, recurrence=recurrence).eval()

    def on(
        self, device: torch.device, dtype: torch.dtype, recurrence: RecurrenceBackend = "eager"
    ) -> tuple[Seq2Seq, Batch]:
        """Copy the model and the batch to a device."""
        model = self._build(recurrence)
        model.load_state_dict(self.model.state_dict())
        batch = self.batch.to(device)
        if batch.source.is_floating_point():
            batch = batch._replace(source=batch.source.to(dtype))
        return model.to(device, dtype), batch

    def results(
        self,
        device: torch.device,
        dtype: torch.dtype,
        recurrence: RecurrenceBackend = "eager",
        precision: str = "fp32",
    ) -> dict[str, Tensor]:
        """Return the loss and the gradients of all parameters, in float64 on the CPU."""
        model, batch = self.on(device, dtype, recurrence)
        with autocast(precision, device), exact_products():
            loss, _ = batch_loss(model, batch, smoothing=0.1, chunk=256)
            loss.backward()  # type: ignore[no-untyped-call]
        found = {"loss": loss.detach()}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                found[name] = parameter.grad
        return {name: value.double().cpu() for name, value in found.items()}

    def search_difference(self, device: torch.device) -> float:
        """Return the share of translations in float32 that differ from those of the CPU."""
        found = [self.search(where) for where in (torch.device("cpu"), device)]
        pairs = list(zip(*found, strict=True))
        return sum(ours != theirs for ours, theirs in pairs) / len(pairs)

    def search(
        self, device: torch.device, wrap: Callable[[Step], Step] = lambda step: step
    ) -> list[tuple[int, ...]]:
        """Return the best translations with beam 5.

        Args:
            device: where to search
            wrap: replaces the step function
        """
        model, batch = self.on(device, torch.float32)
        with torch.inference_mode(), exact_products():
            memory, state = model.start(batch.source, batch.source_mask_bs)
            found = beam_search(
                wrap(model.step),
                memory,
                state,
                bos=SPECIAL_TOKENS.bos,
                eos=SPECIAL_TOKENS.eos,
                beam_size=5,
                max_lengths_b=[MAX_LENGTH] * PAIRS,
                length_penalty=LENGTH_PENALTIES.build(ComponentConfig("average")),
                coverage_penalty=COVERAGE_PENALTIES.build(ComponentConfig("none")),
                source_mask_bs=None if self.images else batch.source_mask_bs,
            )
        return [tuple(best[0].tokens) for best in found]


def type_checks(device: torch.device) -> Iterator[Check]:
    """Check that LSTMs compute in bf16 under bf16 autocast; cuDNN's default rule is fp16."""
    config = ModelConfig(
        embedding_size=64,
        encoder=ComponentConfig("bilstm", {"hidden_size": 32}),
        decoder=ComponentConfig("bahdanau", {"hidden_size": 64}),
        score=ComponentConfig("additive"),
    )
    model = build_model(config, VOCABULARY, VOCABULARY).to(device)
    source_bs = torch.full((4, 7), 5, device=device)
    with torch.no_grad(), autocast("bf16", device):
        states_bse = model.encode(
            source_bs, torch.ones_like(source_bs, dtype=torch.bool)
        ).states_bse
    yield Check("annotations are bfloat16", "bf16", float(states_bse.dtype != torch.bfloat16), 0.0)


def loss_checks(device: torch.device) -> Iterator[Check]:
    """Check the kernel of the smoothed cross entropy."""
    from nmt.training.loss import chunk_loss
    from nmt.training.loss_kernel import chunk_loss as chunk_loss_by_kernel

    generator = torch.Generator().manual_seed(3)
    logits_rv = 3 * torch.randn(96, 8000, generator=generator)
    targets_r = torch.randint(8000, (96,), generator=generator)
    for dtype, limit in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        rounded_rv = logits_rv.to(dtype)
        exact = chunk_loss(rounded_rv.double(), targets_r, 90, 0.1)
        found = chunk_loss_by_kernel(rounded_rv.to(device), targets_r.to(device), 90, 0.1)
        error = _distance(*({"loss": r[0], "gradient": r[2]} for r in (found, exact)))
        yield Check("loss kernel", str(dtype).removeprefix("torch."), error, limit)


@contextmanager
def exact_products() -> Iterator[None]:
    """Disable TF32, whose rounding would hide errors of the program."""
    settings: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [setting.allow_tf32 for setting in settings]
    for setting in settings:
        setting.allow_tf32 = False
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.allow_tf32 = value


def _distance(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Return ‖found - exact‖ / ‖exact‖ of the loss or of the gradient, whichever is larger."""
    assert found.keys() == exact.keys(), "different parameters have gradients"
    errors = []
    for names in (["loss"], [name for name in exact if name != "loss"]):
        ours, theirs = (
            torch.cat([of[name].double().cpu().flatten() for name in names])
            for of in (found, exact)
        )
        errors.append(float((ours - theirs).norm() / theirs.norm()))
    return float(np.max(errors))  # NaN if one of them is NaN


def _sentences(generator: np.random.Generator) -> list[np.ndarray]:
    lengths = generator.integers(3, MAX_LENGTH, PAIRS)
    return [generator.integers(3, VOCABULARY, length) for length in lengths]


def _draw(generator: np.random.Generator, sizes: ImageSize) -> np.ndarray:
    if sizes.size is not None:
        return generator.integers(0, 256, (PAIRS, 3, sizes.size, sizes.size), dtype=np.uint8)
    assert sizes.features is not None
    return generator.standard_normal((PAIRS, sizes.positions, sizes.features), dtype=np.float32)
