"""Beam search on a device that the host reads with a lag, and never within a step."""

from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.config.schema import ModelConfig
from nmt.model.interfaces import select_rows
from nmt.search import beam
from nmt.search.scoring import (
    AverageLengthPenalty,
    CoveragePenalty,
    GnmtCoveragePenalty,
    GnmtLengthPenalty,
    NoCoveragePenalty,
    Scoring,
)
from tests.lagging_copy import lagging_copy
from tests.meta import META, make_ready
from tests.model.small import build, every_part_once, text

from .searching import NO_COVERAGE, NONE, search
from .tables import Table


@pytest.mark.parametrize("lag", [1, 2, 7])
@pytest.mark.parametrize("early_stopping", ["exact", "heuristic"])
@pytest.mark.parametrize("coverage", [NO_COVERAGE, GnmtCoveragePenalty()])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("length", [NONE, AverageLengthPenalty(alpha=2.0)])
def test_lag_of_the_host_changes_no_result(
    lag: int,
    early_stopping: str,
    coverage: Any,
    beam_size: int,
    n_best: int,
    length: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: Any = {
        "beam_size": beam_size,
        "n_best": n_best,
        "max_lengths_b": [9, 7, 1, 2, 12, 5, 9, 3],
        "length_penalty": length,
        "coverage_penalty": coverage,
        "early_stopping": early_stopping,
    }
    table = Table(8, 5)
    immediate, steps = search(table, **options), table.steps
    monkeypatch.setattr(beam, "AsyncHostCopy", lagging_copy(lag))
    late = search(table, **options)
    for one, other in zip(chain(*immediate), chain(*late), strict=True):
        assert one._replace(weights_ts=None) == other._replace(weights_ts=None)
        assert one.weights_ts is not None
        assert other.weights_ts is not None
        assert one.weights_ts.equal(other.weights_ts)
    # No sentence may take more than twelve steps.
    assert steps <= table.steps - steps <= min(steps + lag, 12)


@pytest.mark.parametrize("model", every_part_once())
@torch.inference_mode()
def test_step_reads_no_value_from_its_device(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(monkeypatch)
    inputs, built = text(), build(model, torch.float32).to(META)
    memory, state = built.start(inputs.source_bs.to(META), inputs.source_mask_bs.to(META))
    coverage: CoveragePenalty = NoCoveragePenalty()
    probe = built.step(torch.zeros(3, dtype=torch.long, device=META), memory, state)
    if probe.weights_ns is not None:
        coverage = GnmtCoveragePenalty()
    scoring = Scoring(GnmtLengthPenalty(), coverage)
    active = beam.start_beam(inputs.source_mask_bs.to(META), 4, bos=0, keep_prefixes=True)
    state = select_rows(state, torch.arange(3, device=META).repeat_interleave(4))
    for length in (1, 2, 3):
        prediction = built.step(active.tokens_bk.flatten(), memory, state)
        extension = beam.extend_beam(
            active,
            prediction,
            eos=1,
            keeps_coverage=coverage.needs_weights,
            block_ngram=2,
        )
        result = extension.beam_step([0, 1, 2], scoring, length)
        active, parent_bk = extension.beam, extension.parent_bk
        assert parent_bk is not None
        state = select_rows(extension.state, beam.state_rows(parent_bk))
    assert active.tokens_bk.shape == (3, 4)
    tensors = [part for part in result.candidates if isinstance(part, Tensor)]
    assert {part.device.type for part in tensors} == {"meta"}
