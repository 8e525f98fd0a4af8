"""Soft attention: gate and auxiliary loss."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nmt.model.attention.mechanisms.soft import SoftAttention
from nmt.model.attention.scores.general import GeneralScore
from tests.model.attention.annotations import source
from tests.model.numpy_formulas import Array, array, draw, sigmoid, softmax

LENGTHS, TARGETS = (4, 2), (3, 1)


def _target_mask() -> Tensor:
    return torch.arange(3) < torch.tensor(TARGETS)[:, None]


def _beta(layer: nn.Linear, query: Array) -> Any:
    return sigmoid(array(layer.weight)[0] @ query + array(layer.bias)[0])


@pytest.mark.parametrize("gate", [True, False])
def test_context_is_the_gated_mean_of_annotations(gate: bool) -> None:
    given, attention = source(*LENGTHS), draw(SoftAttention(GeneralScore(3, 5), 3, gate=gate))
    query_bqd = torch.randn(2, 3, 3, dtype=torch.float64)
    reading, _ = attention(query_bqd, attention.prepare(given), ())
    for b, q in np.ndindex(2, 3):
        query, annotations = array(query_bqd[b, q]), array(given.states_bse[b, : LENGTHS[b]])
        weights = softmax(annotations @ array(attention.score.key.weight).T @ query)
        beta: Any = _beta(attention.gate, query) if gate else 1.0
        found = array(reading.weights_bqs[b, q])
        np.testing.assert_allclose(found[: LENGTHS[b]], weights, rtol=1e-11)
        assert found[LENGTHS[b] :].sum() == 0
        expected = beta * weights @ annotations
        np.testing.assert_allclose(array(reading.context_bqe[b, q]), expected, rtol=1e-9)


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_auxiliary_loss_equals_eq_14_over_real_positions(strength: float) -> None:
    made = SoftAttention(GeneralScore(3, 5), 3, doubly_stochastic=strength)
    given, attention = source(*LENGTHS), draw(made)
    query_bqd = torch.randn(2, 3, 3, dtype=torch.float64)
    reading, _ = attention(query_bqd, attention.prepare(given), ())
    zero_bt = torch.zeros(2, 3, dtype=torch.float64)
    penalty = attention.auxiliary_loss(reading.auxiliary, zero_bt, _target_mask())
    weights = array(reading.weights_bqs)
    expected = sum(
        strength * (1 - sum(weights[b, t, s] for t in range(TARGETS[b]))) ** 2
        for b in range(2)
        for s in range(LENGTHS[b])
    )
    assert penalty.item() == pytest.approx(expected, rel=1e-12)


def test_total_attention_of_one_has_no_penalty() -> None:
    """With one target and one source position the weight is 1."""
    given, attention = source(*LENGTHS), draw(SoftAttention(GeneralScore(3, 5), 3))
    one = given._replace(states_bse=given.states_bse[:, :1], mask_bs=given.mask_bs[:, :1])
    reading, _ = attention(torch.randn(2, 1, 3).double(), attention.prepare(one), ())
    mask_bt = torch.ones(2, 1, dtype=torch.bool)
    penalty = attention.auxiliary_loss(
        reading.auxiliary, torch.zeros(2, 1, dtype=torch.float64), mask_bt
    )
    assert penalty.item() == 0


def test_zero_weight_has_no_auxiliary_outputs() -> None:
    given = source(*LENGTHS)
    attention = draw(SoftAttention(GeneralScore(3, 5), 3, doubly_stochastic=0.0))
    query_bqd = torch.randn(2, 3, 3, dtype=torch.float64)
    reading, _ = attention(query_bqd, attention.prepare(given), ())
    assert reading.auxiliary == ()
