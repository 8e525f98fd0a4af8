"""Hard attention: sampling, rewards, baseline and auxiliary loss."""

from itertools import product
from math import log
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.model.attention.mechanism import AttentionOutput
from nmt.model.attention.mechanisms.hard import HardAttention
from nmt.model.attention.scores.general import GeneralScore
from nmt.model.attention.scores.location import LocationScore
from nmt.model.interfaces import Encoded
from tests.model.attention.annotations import source
from tests.model.numpy_formulas import Array, array, draw, sigmoid, softmax

LENGTHS = (4, 2)


def _softmax(attention: Any, query_bqd: Tensor, given: Encoded, b: int, q: int) -> Array:
    """Return the probabilities of the real positions of sentence b for query q."""
    annotations = array(given.states_bse[b, : LENGTHS[b % 2]])
    return softmax(annotations @ array(attention.score.key.weight).T @ array(query_bqd[b, q]))


def test_evaluation_attends_to_the_most_likely_position() -> None:
    given, attention = source(*LENGTHS), draw(HardAttention(GeneralScore(3, 5), 3)).eval()
    memory = attention.prepare(given)
    assert attention.start(memory) == ()
    query_bqd = torch.randn(2, 6, 3, dtype=torch.float64)
    reading, _ = attention(query_bqd, memory, ())
    assert reading.auxiliary == ()
    for b, q in np.ndindex(2, 6):
        best = int(_softmax(attention, query_bqd, given, b, q).argmax())
        assert reading.weights_bqs[b, q].tolist() == [float(s == best) for s in range(4)]
        gate = array(attention.gate.weight)[0] @ array(query_bqd[b, q])
        beta = sigmoid(gate + array(attention.gate.bias)[0])
        expected = beta * array(given.states_bse[b, best])
        np.testing.assert_allclose(array(reading.context_bqe[b, q]), expected, rtol=1e-9)


def test_positions_are_drawn_with_their_probabilities() -> None:
    """The frequencies of 20,000 draws are within 4.5 standard errors."""
    draws = 20_000
    attention = HardAttention(GeneralScore(3, 5), 3)
    probabilities = torch.tensor([0.6, 0.3, 0.1, 0.0], dtype=torch.float64)
    torch.manual_seed(1)
    position_bq = attention.draw(probabilities.log().expand(2, draws // 2, 4))
    shares = torch.bincount(position_bq.flatten(), minlength=4) / draws
    errors = (probabilities * (1 - probabilities) / draws).sqrt()
    assert ((shares - probabilities).abs() <= 4.5 * errors).all()
    assert shares[3] == 0


def _in_training(
    expected: float, queries: int, sentences: int = 2
) -> tuple[HardAttention, Encoded, Tensor, AttentionOutput]:
    attention = draw(HardAttention(GeneralScore(3, 5), 3, expected=expected)).train()
    given = source(*(LENGTHS[row % 2] for row in range(sentences)))
    memory = attention.prepare(given)
    query_bqd = torch.randn(sentences, queries, 3, dtype=torch.float64)
    state = attention.start(memory)
    reading, after = attention(query_bqd, memory, state)
    assert after is state
    return attention, given, query_bqd, reading


def test_auxiliary_outputs_are_log_probability_and_entropy_of_the_draw() -> None:
    attention, given, query_bqd, reading = _in_training(0.0, 6)
    log_prob_bq, entropy_bq = reading.auxiliary
    for b, q in np.ndindex(2, 6):
        p = _softmax(attention, query_bqd, given, b, q)
        drawn = int(reading.weights_bqs[b, q].argmax())
        assert reading.weights_bqs[b, q].tolist() == [float(s == drawn) for s in range(4)]
        assert log_prob_bq[b, q].item() == pytest.approx(log(p[drawn]), rel=1e-11)
        assert entropy_bq[b, q].item() == pytest.approx(-(p * np.log(p)).sum(), rel=1e-11)


def test_share_of_sentences_uses_expected_contexts_throughout() -> None:
    """The share among 2,000 sentences is 0.3, within 4.5 standard errors."""
    attention, given, query_bqd, reading = _in_training(0.3, 3, 2000)
    spread_b = (reading.weights_bqs.amax(-1) < 1).any(-1)
    assert abs(spread_b.double().mean() - 0.3) < 4.5 * (0.3 * 0.7 / 2000) ** 0.5
    log_prob_bq, _ = reading.auxiliary
    assert (log_prob_bq[spread_b] == 0).all()
    assert (log_prob_bq[~spread_b] < 0).all()
    for b, q in product(spread_b.nonzero().flatten().tolist()[:20], range(3)):
        p = _softmax(attention, query_bqd, given, b, q)
        found = array(reading.weights_bqs[b, q, : LENGTHS[b % 2]])
        np.testing.assert_allclose(found, p, rtol=1e-11)


def test_short_location_score_has_finite_gradients() -> None:
    attention = draw(HardAttention(LocationScore(3, 5, max_length=2), 3)).train()
    memory = attention.prepare(source(*LENGTHS))
    query_bqd = torch.randn(2, 3, 3, dtype=torch.float64)
    reading, _ = attention(query_bqd, memory, attention.start(memory))
    assert reading.weights_bqs[:, :, 2:].sum() == 0
    mask_bt = torch.ones(2, 3, dtype=torch.bool)
    nll_bt = torch.ones(2, 3, dtype=torch.float64)
    backward(
        reading.context_bqe.sum() + attention.auxiliary_loss(reading.auxiliary, nll_bt, mask_bt)
    )
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def _penalty(attention: HardAttention, rewards: list[float]) -> None:
    nll_bt = -torch.tensor(rewards)[:, None]
    auxiliary = (torch.zeros_like(nll_bt), torch.zeros_like(nll_bt))
    attention.auxiliary_loss(auxiliary, nll_bt, torch.ones(len(rewards), 1, dtype=torch.bool))


def test_baseline_is_a_moving_average_initialized_by_the_first_batch() -> None:
    attention = HardAttention(GeneralScore(3, 5), 3)
    assert attention.baseline_p.isnan().all()
    assert "baseline_p" not in attention.state_dict(), "no weight, which another run would demand"
    expected = -4.0
    for number, rewards in enumerate([[-3.0, -5.0], [-10.0, -20.0], [-1.0]]):
        _penalty(attention, rewards)
        if number:
            expected = 0.9 * expected + 0.1 * float(np.mean(rewards))
        assert attention.baseline_p.item() == pytest.approx(expected, rel=1e-6)


def test_auxiliary_loss_equals_eq_12() -> None:
    """The second sentence has one real target position; the batch before gives b = -3."""
    attention = HardAttention(GeneralScore(3, 5), 3, reward_weight=2.0, entropy_weight=0.5)
    _penalty(attention, [-3.0])
    log_prob_bt = torch.tensor([[-1.0, -2.0], [-0.5, -9.0]], requires_grad=True)
    entropy_bt = torch.tensor([[0.1, 0.2], [0.3, 9.0]], requires_grad=True)
    nll_bt = torch.tensor([[1.5, 2.5], [0.25, 0.0]])
    mask_bt = torch.tensor([[True, True], [True, False]])
    penalty = attention.auxiliary_loss((log_prob_bt, entropy_bt), nll_bt, mask_bt)
    backward(penalty)
    first, second = -2 * (-4 + 3), -2 * (-0.25 + 3)
    torch.testing.assert_close(log_prob_bt.grad, torch.tensor([[first, first], [second, 0.0]]))
    torch.testing.assert_close(entropy_bt.grad, torch.tensor([[-0.5, -0.5], [-0.5, 0.0]]))


@pytest.mark.parametrize(
    ("reward", "before", "advantages", "after"),
    [
        ("rest", [-6, -4], [[-4 + 6, -2.5 + 4], [-0.25 + 6, 0]], [-5.4 - 0.2125, -3.6 - 0.25]),
        ("step", [-2, -4], [[-1.5 + 2, -2.5 + 4], [-0.25 + 2, 0]], [-1.8 - 0.0875, -3.6 - 0.25]),
    ],
)
def test_rewards_rest_and_step(
    reward: Literal["rest", "step"],
    before: list[float],
    advantages: list[list[float]],
    after: list[float],
) -> None:
    """The baselines come from an earlier sentence of two words."""
    attention = HardAttention(GeneralScore(3, 5), 3, reward=reward, entropy_weight=0.0)
    zeros_bt = torch.zeros(1, 3)
    nll_bt = torch.tensor([[2.0, 4.0, 0.0]])
    attention.auxiliary_loss((zeros_bt, zeros_bt), nll_bt, torch.tensor([[True, True, False]]))
    assert attention.baseline_p[:2].tolist() == before
    assert attention.baseline_p[2:].isnan().all()
    log_prob_bt = torch.tensor([[-1.0, -2.0], [-0.5, -9.0]], requires_grad=True)
    nll_bt = torch.tensor([[1.5, 2.5], [0.25, 0.0]])
    mask_bt = torch.tensor([[True, True], [True, False]])
    backward(attention.auxiliary_loss((log_prob_bt, torch.zeros(2, 2)), nll_bt, mask_bt))
    torch.testing.assert_close(log_prob_bt.grad, -torch.tensor(advantages))
    assert attention.baseline_p[:2].tolist() == pytest.approx(after)


def test_late_positions_share_a_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.model.attention.mechanisms.hard.BASELINES", 2)
    attention = HardAttention(GeneralScore(3, 5), 3, reward="step")
    nll_bt = torch.tensor([[1.0, 2.0, 6.0]])
    auxiliary = (torch.zeros(1, 3), torch.zeros(1, 3))
    attention.auxiliary_loss(auxiliary, nll_bt, torch.ones(1, 3, dtype=torch.bool))
    assert attention.baseline_p.tolist() == [-1.0, -4.0]
