"""Global attention and coverage against their formulas in NumPy."""

import numpy as np
import pytest
import torch

from nmt.model.attention.mechanisms.global_attention import GlobalAttention
from nmt.model.attention.scores.additive import AdditiveScore
from nmt.model.interfaces import Encoded, LayerStates
from nmt.registry import SCORES, ComponentConfig
from tests.model.numpy_formulas import array, draw, softmax

LENGTHS = (4, 2)


def _source() -> Encoded:
    torch.manual_seed(4)
    mask_bs = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
    states_bse = torch.randn(2, 4, 5, dtype=torch.float64) * mask_bs[:, :, None]
    final_state_bx = torch.randn(2, 3, dtype=torch.float64)
    return Encoded(states_bse, mask_bs, final_state_bx, LayerStates(states_bse[:, :1], None))


def test_context_is_the_softmax_weighted_mean_of_annotations() -> None:
    source, attention = _source(), draw(GlobalAttention(AdditiveScore(3, 5)))
    query_bqd = torch.randn(2, 3, 3, dtype=torch.float64)
    reading, _ = attention(query_bqd, attention.prepare(source), ())
    score = attention.score
    energies_bqs = array(score(query_bqd, score.prepare(source.states_bse)))
    for b, q in np.ndindex(2, 3):
        length = LENGTHS[b]
        weights = softmax(energies_bqs[b, q, :length])
        context = sum(w * array(h) for w, h in zip(weights, source.states_bse[b], strict=False))
        np.testing.assert_allclose(array(reading.weights_bqs[b, q, :length]), weights, rtol=1e-12)
        np.testing.assert_allclose(array(reading.context_bqe[b, q]), context, rtol=1e-10)
        assert reading.weights_bqs[b, q, length:].abs().sum() == 0


def test_coverage_equals_the_formula_over_several_steps() -> None:
    """v·tanh(W q + U k + u κ), where κ is the sum of a hypothesis's earlier weights."""
    hypotheses, steps = 3, 4
    source = _source()
    attention = draw(GlobalAttention(AdditiveScore(3, 5, hidden_size=2), coverage=True))
    query_tnd = torch.randn(steps, 2 * hypotheses, 3, dtype=torch.float64)
    memory = attention.prepare(source)
    (kappa_bs,) = attention.start(memory)
    state = (kappa_bs.repeat_interleave(hypotheses, dim=0),)
    score = attention.score
    w, u_key = array(score.query.weight), array(score.key.weight)
    v, u = array(score.v_a), array(attention.coverage_a)
    kappa_ns = [np.zeros(LENGTHS[n // hypotheses]) for n in range(2 * hypotheses)]
    for t in range(steps):
        context_ne, weights_ns, _, state = attention.attend(query_tnd[t], memory, state)
        for n, kappa in enumerate(kappa_ns):
            keys = array(source.states_bse[n // hypotheses])[: len(kappa)]
            energies = [
                v @ np.tanh(w @ array(query_tnd[t, n]) + u_key @ key + u * seen)
                for key, seen in zip(keys, kappa, strict=True)
            ]
            weights = softmax(np.array(energies))
            kappa += weights
            np.testing.assert_allclose(array(weights_ns[n, : len(kappa)]), weights, rtol=1e-10)
            np.testing.assert_allclose(array(context_ne[n]), weights @ keys, rtol=1e-9)


def test_coverage_rejects_a_score_without_keys() -> None:
    with pytest.raises(ValueError, match="coverage requires a score with keys"):
        GlobalAttention(SCORES.build(ComponentConfig("location"), 3, 5), coverage=True)
