"""Forced scoring against sums by hand."""

import math
from typing import Any

import pytest
import torch

from nmt.search.beam import beam_search
from nmt.search.scoring import (
    UNPENALIZED,
    AverageLengthPenalty,
    GnmtCoveragePenalty,
    GnmtLengthPenalty,
    Scoring,
)
from nmt.search.stepwise import force_decode

from .tables import BOS, EOS, Table, gnmt

TARGETS = [[2, 3, 2, 2, 0], [], [3], [0, 0, 2]]


@pytest.mark.parametrize("penalised", [False, True])
def test_a_forced_target_has_the_sum_of_its_log_probabilities(penalised: bool) -> None:
    table = Table(4, 1)
    scoring, score = UNPENALIZED, gnmt(0.0)
    if penalised:
        scoring = Scoring(GnmtLengthPenalty(alpha=0.7), GnmtCoveragePenalty(beta=0.4))
        score = gnmt(0.7, 0.4)
    found = force_decode(table.step, *table.start(), TARGETS, bos=BOS, eos=EOS, scoring=scoring)
    for sentence, target in enumerate(TARGETS):
        said = table.spell(sentence, [*target, EOS])
        one = found[sentence]
        assert one.tokens == [*target, EOS]
        assert one.finished
        assert one.token_log_probs == pytest.approx(list(said.log_probs))
        assert one.log_prob == pytest.approx(said.log_prob)
        assert one.score == pytest.approx(score(said), rel=1e-6)
        assert one.weights_ts is not None
        torch.testing.assert_close(one.weights_ts, torch.tensor(said.weights))
    assert table.rows == [4, 3, 2, 2, 1, 1]


def test_an_impossible_target_scores_minus_infinity() -> None:
    table = Table(1, 1)
    table.log_probs[0][EOS][BOS][3] = -math.inf
    (found,) = force_decode(table.step, *table.start(), [[3, 2]], bos=BOS, eos=EOS)
    assert found.score == -math.inf


def test_what_search_found_has_the_same_score_when_forced() -> None:
    table, scoring = Table(5, 8), Scoring(AverageLengthPenalty(), GnmtCoveragePenalty())
    found = beam_search(
        table.step,
        *table.start(),
        bos=BOS,
        eos=EOS,
        beam_size=3,
        max_lengths_b=[30] * 5,
        length_penalty=scoring.length,
        coverage_penalty=scoring.coverage,
    )
    targets = [one.tokens[:-1] for (one,) in found]
    again = force_decode(table.step, *table.start(), targets, bos=BOS, eos=EOS, scoring=scoring)
    for (one,), forced in zip(found, again, strict=True):
        assert forced.score == pytest.approx(one.score, rel=1e-6)
        assert forced.weights_ts is not None
        assert one.weights_ts is not None
        assert forced.weights_ts.equal(one.weights_ts)


def test_weights_of_padding_are_cut_off() -> None:
    table, mask_bs = Table(2, 3), torch.tensor([[True, True, False], [True, True, True]])
    options: Any = {"bos": BOS, "eos": EOS, "source_mask_bs": mask_bs}
    first, second = force_decode(table.step, *table.start(), [[2], [2, 3]], **options)
    assert first.weights_ts is not None
    assert second.weights_ts is not None
    assert first.weights_ts.shape == (2, 2)
    assert second.weights_ts.shape == (3, 3)


def test_a_model_that_does_not_attend_can_be_forced() -> None:
    table = Table(1, 3)
    (found,) = force_decode(table.blind_step, *table.start(), [[2]], bos=BOS, eos=EOS)
    assert found.weights_ts is None
