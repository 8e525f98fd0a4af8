"""What a search asks of a GPU: nothing that it would have to wait for, and to be read late."""

from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.config.schema import ModelConfig
from nmt.search import beam
from nmt.search.frontier import Frontier
from nmt.search.ledger import Limits
from nmt.search.penalties import (
    AverageLengthPenalty,
    CoveragePenalty,
    GnmtCoveragePenalty,
    GnmtLengthPenalty,
    NoCoveragePenalty,
    Scoring,
)
from nmt.search.step import select_rows
from tests.lagging_copy import lagging_copy
from tests.meta import META, make_ready
from tests.model.small import build, every_part_once, text

from .searching import NO_COVERAGE, NONE, search
from .tables import Table


@pytest.mark.parametrize("letters", [1, 2, 7])
@pytest.mark.parametrize("stop", ["bound", "likely"])
@pytest.mark.parametrize("coverage", [NO_COVERAGE, GnmtCoveragePenalty()])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("length", [NONE, AverageLengthPenalty(alpha=2.0)])
def test_what_is_read_late_decides_alike(
    letters: int,
    stop: str,
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
        "stop": stop,
    }
    table = Table(8, 5)
    at_once, steps = search(table, **options), table.steps
    monkeypatch.setattr(beam, "AsyncHostCopy", lagging_copy(letters))
    late = search(table, **options)
    for sentence, other in zip(chain(*at_once), chain(*late), strict=True):
        assert sentence._replace(weights_ts=None) == other._replace(weights_ts=None)
        assert sentence.weights_ts is not None
        assert other.weights_ts is not None
        assert sentence.weights_ts.equal(other.weights_ts)
    # Twelve steps are the most that any sentence may take.
    assert steps <= table.steps - steps <= min(steps + letters, 12)


@pytest.mark.parametrize("model", every_part_once())
@torch.inference_mode()
def test_no_step_reads_a_number_on_its_device(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(monkeypatch)
    given, built = text(), build(model, torch.float32).to(META)
    memory, state = built.start(given.source_bs.to(META), given.source_mask_bs.to(META))
    penalty: CoveragePenalty = NoCoveragePenalty()
    probe = built.step(torch.zeros(3, dtype=torch.long, device=META), memory, state)
    if probe.weights_ns is not None:
        penalty = GnmtCoveragePenalty()
    limits = Limits(1, 4, 1, 2, "bound", [9, 9, 9])
    scoring = Scoring(GnmtLengthPenalty(), penalty)
    frontier = Frontier(0, limits, scoring, given.source_mask_bs, META)
    state = select_rows(state, frontier.first_rows_n)
    for left in (3, 3, 2):
        prediction = built.step(frontier.tokens_n, memory, state)
        found = frontier.advance(prediction)
        kept_b, rows_n = frontier.keep(lambda sentence, _, left=left: sentence < left)  # type: ignore[misc]
        state = select_rows(prediction.state, rows_n)
        memory = memory if kept_b is None else select_rows(memory, kept_b)
    assert frontier.sentences == [0, 1]
    assert rows_n.shape == (8,)
    tensors = [part for part in found.candidates if isinstance(part, Tensor)]
    assert {part.device.type for part in tensors} == {"meta"}
