"""Every system of `configs/` on the meta device: nothing reads a value, and no devices mix."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment
from nmt.data.batch import Batch, collate, combine, pad
from nmt.data.images import ImageSize
from nmt.data.loader import BatchLoader, IndexedBatch, Position, UpdateBatch
from nmt.data.special_tokens import SpecialTokens
from nmt.inference.compile import compile_model
from nmt.model.build import build_meta_model
from nmt.model.interfaces import select_rows
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import SCHEDULES, ComponentConfig
from nmt.search import beam
from nmt.search.scoring import (
    CoveragePenalty,
    GnmtCoveragePenalty,
    GnmtLengthPenalty,
    NoCoveragePenalty,
    Scoring,
)
from nmt.training import nonfinite
from nmt.training.precision import Precision
from nmt.training.trainer import Trainer
from tests.lagging_copy import lagging_copy
from tests.meta import META, make_ready

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
SPECIAL_TOKENS = SpecialTokens(0, 1, 2)
LENGTHS, BEAM, STEPS, VOCABULARY = (3, 4, 1), 4, 3, 60


class MetaOptimizer(Optimizer):
    """Optimizer that changes nothing, and skips non-finite updates like a fused one on a GPU."""

    _step_supports_amp_scaling = True

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 1.0})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Require the gradient of every parameter."""
        for group in self.param_groups:
            assert all(parameter.grad is not None for parameter in group["params"])


@pytest.fixture(params=CONFIGS, ids=lambda config: config.stem)
def experiment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    make_ready(monkeypatch)
    monkeypatch.setattr(nonfinite, "AsyncHostCopy", lagging_copy(1))
    return load_experiment(request.param).experiment


def make_model(experiment: Experiment) -> Seq2Seq:
    images = ImageSize.from_config(experiment.data.pictures)
    return build_meta_model(experiment.model, images or VOCABULARY, VOCABULARY)


def make_batch(experiment: Experiment) -> Batch:
    sentences = [np.arange(3, 3 + length) for length in LENGTHS]
    images = ImageSize.from_config(experiment.data.pictures)
    if images is None:
        return collate(sentences[::-1], sentences, SPECIAL_TOKENS, SPECIAL_TOKENS)
    assert images.size is not None
    pixels = np.zeros((len(LENGTHS), 3, images.size, images.size), np.uint8)
    mask_bs = np.ones((len(LENGTHS), 1), bool)
    return combine(pixels, mask_bs, *pad(sentences, SPECIAL_TOKENS), SPECIAL_TOKENS)


def test_update_reads_no_value(experiment: Experiment) -> None:
    batch = make_batch(experiment)
    model = make_model(experiment)
    trainer = Trainer(
        model,
        MetaOptimizer(model.parameters()),
        SCHEDULES.build(ComponentConfig("constant")),
        BatchLoader.__new__(BatchLoader),  # not used: the test makes the batch
        Precision("fp32", META),
        clip_norm=experiment.training.clip_norm,
        label_smoothing=experiment.training.label_smoothing,
    )
    trainer.skips_on_device = True
    indexed = IndexedBatch(batch, np.arange(len(LENGTHS)))
    update = trainer.update(UpdateBatch([indexed], batch.target_tokens, Position(0, 1)))
    assert {update.loss.device, update.nll.device, update.grad_norm.device} == {META}


@torch.inference_mode()
def test_search_reads_no_value(experiment: Experiment) -> None:
    batch = make_batch(experiment).to(META)
    model = compile_model(make_model(experiment).eval())  # in the form of a GPU
    memory, state = model.start(batch.source, batch.source_mask_bs)
    tokens_bk = _search(model.step, memory, state, batch.source_mask_bs)
    assert tokens_bk.shape == (len(LENGTHS), BEAM)


def _search(step: Any, memory: Any, state: Any, source_mask_bs: Tensor) -> Tensor:
    sentences = list(range(len(LENGTHS)))
    coverage: CoveragePenalty = NoCoveragePenalty()
    first = step(torch.zeros(len(sentences), dtype=torch.long, device=META), memory, state)
    if first.weights_ns is not None and first.weights_ns.size(1) == source_mask_bs.size(1):
        coverage = GnmtCoveragePenalty()
    scoring = Scoring(GnmtLengthPenalty(), coverage)
    active = beam.start_beam(source_mask_bs, BEAM, bos=1, keep_prefixes=True)
    rows = torch.arange(len(sentences), device=META)
    state = select_rows(state, rows.repeat_interleave(BEAM))
    for length in range(1, STEPS + 1):
        prediction = step(active.tokens_bk.flatten(), memory, state)
        extension = beam.extend_beam(
            active, prediction, eos=2, keeps_coverage=coverage.needs_weights, block_ngram=2
        )
        extension.beam_step(sentences, scoring, length)
        active, parent_bk = extension.beam, extension.parent_bk
        assert parent_bk is not None
        state = select_rows(extension.state, beam.state_rows(parent_bk))
    return active.tokens_bk
