"""Penalties compared with their formulas, and the properties that search requires."""

import math

import pytest
import torch

from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES, ComponentConfig
from nmt.search.scoring import GnmtCoveragePenalty, LengthPenalty


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ComponentConfig("none"), -6.0),
        (ComponentConfig("average"), -6.0 / 7),
        (ComponentConfig("average", {"alpha": 0.5}), -6.0 / math.sqrt(7)),
        (ComponentConfig("average", {"alpha": 0.0}), -6.0),
        (ComponentConfig("gnmt"), -6.0 / 2**0.2),
        (ComponentConfig("gnmt", {"alpha": 1.0}), -3.0),
    ],
)
def test_length_penalty_equals_its_formula(choice: ComponentConfig, expected: float) -> None:
    penalty: LengthPenalty = LENGTH_PENALTIES.build(choice)
    found = penalty(torch.tensor([-6.0], dtype=torch.float64), 7)
    assert found.tolist() == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize("name", list(LENGTH_PENALTIES))
def test_length_penalty_does_not_decrease_with_length_or_log_prob(name: str) -> None:
    penalty: LengthPenalty = LENGTH_PENALTIES.build(ComponentConfig(name))
    log_prob_xl = torch.linspace(-300, 0, 61, dtype=torch.float64)[:, None].expand(61, 200)
    scores_xl = penalty(log_prob_xl, torch.arange(1, 201).double())
    assert (scores_xl.diff(dim=0) >= 0).all()
    assert (scores_xl.diff(dim=1) >= 0).all()


def test_coverage_penalty_clips_at_one_and_excludes_padding() -> None:
    coverage_ns = torch.tensor([[0.5, 1.0, 1.7, 0.2], [0.25, 0.5, 0.5, 1.0]], dtype=torch.float64)
    mask_ns = torch.tensor([[True, True, True, False], [True, True, True, True]])
    found_n = GnmtCoveragePenalty(beta=0.3)(coverage_ns, mask_ns)
    assert found_n.tolist() == pytest.approx(
        [0.3 * math.log(0.5), 0.3 * math.log(0.0625)], rel=1e-12
    )


def test_position_without_attention_has_a_finite_penalty() -> None:
    mask_s = torch.tensor([True, True])
    penalty = GnmtCoveragePenalty(beta=1.0)(torch.tensor([1.0, 0.0], dtype=torch.float64), mask_s)
    assert float(penalty) == pytest.approx(math.log(1e-4))


@pytest.mark.parametrize("name", list(COVERAGE_PENALTIES))
def test_coverage_penalty_is_never_positive(name: str) -> None:
    coverage_ns = torch.rand(20, 5, generator=torch.Generator().manual_seed(0)) * 3
    mask_ns = torch.ones(20, 5, dtype=torch.bool)
    assert (COVERAGE_PENALTIES.build(ComponentConfig(name))(coverage_ns, mask_ns) <= 0).all()
