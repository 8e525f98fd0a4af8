"""Local attention against Luong et al. 2015, section 3.2, in NumPy, one window at a time."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.model.attention.mechanisms.local_m import MonotonicLocalAttention
from nmt.model.attention.mechanisms.local_p import PredictiveLocalAttention
from nmt.model.attention.scores.general import GeneralScore
from nmt.model.attention.scores.location import LocationScore
from tests.model.attention.annotations import source
from tests.model.numpy_formulas import Array, array, draw, sigmoid, softmax

LENGTHS = (9, 3)


def _energies(score: GeneralScore, query: Array, annotations: Array) -> Array:
    return annotations @ array(score.key.weight).T @ query


def _monotonic_windows(length: int, window: int, steps: int) -> list[list[int]]:
    """Return the real positions of [t - D, t + D], or of a window around the last one."""
    windows = []
    for t in range(steps):
        inside = [s for s in range(t - window, t + window + 1) if 0 <= s < length]
        last = length - 1
        windows.append(inside or [s for s in range(last - window, length) if s >= 0])
    return windows


def test_expected_windows() -> None:
    assert _monotonic_windows(3, 1, 6) == [[0, 1], [0, 1, 2], [1, 2], [2], [1, 2], [1, 2]]


@pytest.mark.parametrize("window", [1, 2, 10])
def test_monotonic_weights_are_a_softmax_within_the_window(
    window: int,
) -> None:
    hypotheses, steps = 2, 14
    given = source(*LENGTHS)
    attention = draw(MonotonicLocalAttention(GeneralScore(3, 5), window=window))
    memory = attention.prepare(given)
    (position_b,) = attention.start(memory)
    state = (position_b.repeat_interleave(hypotheses),)
    query_tnd = torch.randn(steps, 2 * hypotheses, 3, dtype=torch.float64)
    looks = []
    for query_nd in query_tnd:
        looks.append(attention.attend(query_nd, memory, state))
        state = looks[-1].state
    for n in range(2 * hypotheses):
        length = LENGTHS[n // hypotheses]
        annotations = array(given.states_bse[n // hypotheses])
        for t, inside in enumerate(_monotonic_windows(length, window, steps)):
            query = array(query_tnd[t, n])
            weights = np.zeros(9)
            weights[inside] = softmax(_energies(attention.score, query, annotations[inside]))
            context_ne, weights_ns, _, _ = looks[t]
            np.testing.assert_allclose(array(weights_ns[n]), weights, rtol=1e-11, atol=0)
            np.testing.assert_allclose(array(context_ne[n]), weights @ annotations, rtol=1e-9)


def test_position_follows_a_hypothesis_when_rows_are_reordered() -> None:
    given, attention = source(*LENGTHS), draw(MonotonicLocalAttention(GeneralScore(3, 5), window=1))
    memory = attention.prepare(given)
    query_nd = torch.randn(4, 3, dtype=torch.float64)
    at_5_1_0_7 = (torch.tensor([5, 1, 0, 7]),)
    _, weights_ns, _, state = attention.attend(query_nd, memory, at_5_1_0_7)
    looked = [row.nonzero().flatten().tolist() for row in weights_ns]
    assert looked == [[4, 5, 6], [0, 1, 2], [0, 1], [1, 2]]
    assert state[0].tolist() == [6, 2, 1, 8]


def _predicted(attention: Any, query: Array, annotations: Array) -> tuple[float, Array]:
    """Return p and the weights of eq. 10 for the real annotations of one sentence."""
    length, window = len(annotations), attention.window
    hidden = np.tanh(array(attention.query_weight_ad) @ query)
    p = length * float(sigmoid(array(attention.center_a) @ hidden))
    inside = [s for s in range(length) if p - window <= s <= p + window]
    weights, sigma = np.zeros(length), window / 2
    weights[inside] = softmax(_energies(attention.score, query, annotations[inside]))
    return p, weights * np.exp(-((np.arange(length) - p) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("window", [1, 2, 10])
@pytest.mark.parametrize("hidden_size", [None, 7])
def test_predictive_weights_equal_the_formula(window: int, hidden_size: int | None) -> None:
    score = GeneralScore(3, 5)
    made = PredictiveLocalAttention(score, 3, window=window, hidden_size=hidden_size)
    given, attention = source(*LENGTHS), draw(made)
    assert attention.center_a.shape == (hidden_size or 3,)
    with torch.no_grad():
        attention.center_a *= 8
    query_bqd = torch.randn(2, 30, 3, dtype=torch.float64)
    reading, _ = attention(query_bqd, attention.prepare(given), ())
    centres = []
    for b, q in np.ndindex(2, 30):
        annotations = array(given.states_bse[b, : LENGTHS[b]])
        p, weights = _predicted(attention, array(query_bqd[b, q]), annotations)
        found, rest = reading.weights_bqs[b, q].split([LENGTHS[b], 9 - LENGTHS[b]])
        np.testing.assert_allclose(array(found), weights, rtol=1e-11, atol=0)
        assert ((found == 0) == torch.from_numpy(weights == 0)).all()
        assert rest.abs().sum() == 0
        context = weights @ annotations
        np.testing.assert_allclose(array(reading.context_bqe[b, q]), context, rtol=1e-9)
        centres.append(p / LENGTHS[b])
    assert min(centres) < 0.1, "windows at both ends are among those compared"
    assert max(centres) > 0.9


def test_window_ends_at_the_ends_of_the_sentence() -> None:
    """σ(±50) is 0 and 1: p = 0 and p = S, one position after the last."""
    given = source(*LENGTHS)
    attention = draw(PredictiveLocalAttention(GeneralScore(3, 5), 3, window=2))
    with torch.no_grad():
        attention.query_weight_ad.copy_(torch.eye(3) * 1e6)
        attention.center_a.copy_(torch.tensor([50.0, 0, 0]))
    query_q3 = torch.tensor([[-1.0, 0.2, 0.3], [1.0, 0.2, 0.3]], dtype=torch.float64)
    reading, _ = attention(query_q3.expand(2, 2, 3), attention.prepare(given), ())
    looked = [[w.nonzero().flatten().tolist() for w in rows] for rows in reading.weights_bqs]
    assert looked == [[[0, 1, 2], [7, 8]], [[0, 1, 2], [1, 2]]]
    bell = np.exp(-np.array([4, 1]) / 2)  # σ = 1, distances 2 and 1
    annotations, query = array(given.states_bse[1, 1:3]), array(query_q3[1])
    expected = softmax(_energies(attention.score, query, annotations)) * bell
    np.testing.assert_allclose(array(reading.weights_bqs[1, 1, 1:3]), expected, rtol=1e-9)


def test_center_gets_the_gradient_of_the_bell_curve() -> None:
    """With equal energies dα/dp = α (s - p)/σ², and p = S σ(z) has dp/dz = p (1 - p/S)."""
    given = source(*LENGTHS)
    attention = draw(PredictiveLocalAttention(GeneralScore(3, 5), 3, window=10))
    with torch.no_grad():
        attention.score.key.weight.zero_()
    query_11d = torch.randn(2, 1, 3, dtype=torch.float64)
    reading, _ = attention(query_11d, attention.prepare(given), ())
    (slope_a,) = torch.autograd.grad(reading.weights_bqs[0, 0, 7], [attention.center_a])
    hidden = np.tanh(array(attention.query_weight_ad) @ array(query_11d[0, 0]))
    p = 9 * float(sigmoid(array(attention.center_a) @ hidden))
    alpha = np.exp(-((7 - p) ** 2) / 50) / 9
    expected = alpha * (7 - p) / 25 * p * (1 - p / 9) * hidden
    np.testing.assert_allclose(array(slope_a), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["local_m", "local_p"])
def test_window_beyond_the_location_score_has_equal_weights(kind: str) -> None:
    """The score has three positions; a window at the end of nine contains none of them."""
    given, score = source(*LENGTHS), LocationScore(3, 5, max_length=3)
    query_bqd = torch.zeros(2, 1, 3, dtype=torch.float64)
    if kind == "local_m":
        monotonic = draw(MonotonicLocalAttention(score, window=2))
        positions = (torch.tensor([7, 0]),)
        reading, _ = monotonic(query_bqd, monotonic.prepare(given), positions)
        expected = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1]) / 4
    else:
        predictive = draw(PredictiveLocalAttention(score, 3, window=1))
        with torch.no_grad():
            predictive.query_weight_ad.copy_(torch.eye(3) * 1e6)
            predictive.center_a.copy_(torch.tensor([50.0, 0, 0]))
        query_bqd = query_bqd + torch.tensor([1.0, 0, 0])
        reading, _ = predictive(query_bqd, predictive.prepare(given), ())
        expected = np.array([0, 0, 0, 0, 0, 0, 0, 0, np.exp(-2)])
    np.testing.assert_allclose(array(reading.weights_bqs[0, 0]), expected, rtol=1e-12)
    reading.context_bqe.sum().backward()
    assert score.weight_pd.grad is not None
    assert score.weight_pd.grad.isfinite().all()


def test_window_partly_beyond_the_location_score_uses_the_rest() -> None:
    given = source(*LENGTHS)
    attention = draw(MonotonicLocalAttention(LocationScore(3, 5, max_length=3), window=2))
    query_bqd = torch.randn(2, 1, 3, dtype=torch.float64)
    reading, _ = attention(query_bqd, attention.prepare(given), (torch.tensor([3, 3]),))
    energies = array(attention.score.weight_pd) @ array(query_bqd[0, 0])
    expected = np.array([0, *softmax(energies[1:]), 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(array(reading.weights_bqs[0, 0]), expected, rtol=1e-12)
