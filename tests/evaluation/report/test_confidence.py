"""Confidence from attention."""

from math import exp, log

import pytest
import torch

from nmt.evaluation.report.confidence import attention_confidence


def test_one_to_one_attention_has_no_penalty() -> None:
    penalties = attention_confidence(torch.eye(5))
    assert penalties == (0, 0, 0)
    assert penalties.percent == 100


def test_uniform_attention_has_the_entropy_of_a_uniform_distribution() -> None:
    """Every source token is attended to 2 / 4 times in total."""
    penalties = attention_confidence(torch.full((2, 4), 0.25))
    expected = -log(1 + 0.5**2), -log(4), -log(2)
    assert penalties == pytest.approx(expected, rel=1e-12)
    assert penalties.percent == pytest.approx(100 * exp(-0.05 * sum(expected) ** 2))


def test_penalties_are_the_formulas_of_the_paper() -> None:
    weights_ts = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    weights_ts[1] = 0  # a row without attention
    a = weights_ts.double().tolist()
    coverage = [sum(row[s] for row in a) for s in range(5)]

    def plogp(values: list[float]) -> float:
        total = sum(values)
        return sum(v / total * log(v / total) for v in values if v)

    assert attention_confidence(weights_ts) == pytest.approx(
        (
            -sum(log(1 + (1 - c) ** 2) for c in coverage) / 5,
            sum(plogp(row) for row in a if any(row)) / 3,
            sum(plogp([row[s] for row in a]) for s in range(5)) / 5,
        ),
        rel=1e-9,
    )
