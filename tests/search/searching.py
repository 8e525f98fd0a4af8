"""Beam search over a table, and comparison with the hypotheses of an oracle."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from nmt.search.beam import beam_search
from nmt.search.hypothesis import Hypothesis
from nmt.search.scoring import NoCoveragePenalty, NoLengthPenalty

from .tables import BOS, EOS, Score, String, Table

NONE, NO_COVERAGE = NoLengthPenalty(), NoCoveragePenalty()


def search(
    table: Table,
    *,
    order: Sequence[int] | None = None,
    length_penalty: Any = NONE,
    coverage_penalty: Any = NO_COVERAGE,
    step: Callable[..., Any] | None = None,
    **options: Any,
) -> list[list[Hypothesis]]:
    return beam_search(
        step or table.step,
        *table.start(order),
        bos=BOS,
        eos=EOS,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        **options,
    )


def assert_same(found: list[Hypothesis], expected: list[String], score: Score) -> None:
    assert [tuple(one.tokens) for one in found] == [string.tokens for string in expected]
    for one, string in zip(found, expected, strict=True):
        assert one.finished == string.finished
        assert one.score == pytest.approx(score(string), rel=1e-6)
        assert one.log_prob == pytest.approx(string.log_prob, rel=1e-9)
        assert one.token_log_probs == pytest.approx(list(string.log_probs), rel=1e-9)
        assert one.weights_ts is not None
        torch.testing.assert_close(one.weights_ts, torch.tensor(string.weights))
