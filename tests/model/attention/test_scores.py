"""Scores against the formulas of their papers in NumPy, one number at a time."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch

from nmt.model.attention.score import Score
from nmt.registry import SCORES, ComponentConfig
from tests.model.numpy_formulas import Array, array, draw
from tests.model.small import PIECES, choices

Formula = Callable[[Any, Array, Array], float]


def _additive(score: Any, query: Array, key: Array) -> float:
    hidden = array(score.query.weight) @ query + array(score.key.weight) @ key
    return float(array(score.v_a) @ np.tanh(hidden))


def _concat(score: Any, query: Array, key: Array) -> float:
    hidden = array(score.joined.weight) @ np.concatenate([query, key])
    return float(array(score.v_a) @ np.tanh(hidden))


def _general(score: Any, query: Array, key: Array) -> float:
    weight = array(score.key.weight)
    return sum(query[d] * weight[d, e] * key[e] for d in range(len(query)) for e in range(len(key)))


def _dot(score: Any, query: Array, key: Array) -> float:
    return sum(q * k for q, k in zip(query, key, strict=True))


def _scaled_dot(score: Any, query: Array, key: Array) -> float:
    return _dot(score, query, key) / sqrt(len(query))


def _cosine(beta: float | None) -> Formula:
    def formula(score: Any, query: Array, key: Array) -> float:
        sharpness = np.exp(array(score.log_sharpness)) if beta is None else beta
        return float(sharpness * query @ key / np.linalg.norm(query) / np.linalg.norm(key))

    return formula


FORMULAS: dict[str, tuple[ComponentConfig, tuple[int, int], Formula]] = {
    "dot": (ComponentConfig("dot"), (4, 4), _dot),
    "scaled dot": (ComponentConfig("scaled_dot"), (5, 5), _scaled_dot),
    "general": (ComponentConfig("general"), (3, 5), _general),
    "additive": (ComponentConfig("additive"), (3, 5), _additive),
    "narrow additive": (ComponentConfig("additive", {"hidden_size": 2}), (3, 5), _additive),
    "concat": (ComponentConfig("concat"), (3, 5), _concat),
    "wide concat": (ComponentConfig("concat", {"hidden_size": 7}), (3, 5), _concat),
    "cosine": (ComponentConfig("cosine"), (4, 4), _cosine(None)),
    "fixed cosine": (
        ComponentConfig("cosine", {"learned": False, "sharpness": 2.5}),
        (4, 4),
        _cosine(2.5),
    ),
}


@pytest.mark.parametrize(("choice", "sizes", "formula"), FORMULAS.values(), ids=FORMULAS.keys())
def test_score_equals_the_formula_of_its_paper(
    choice: ComponentConfig, sizes: tuple[int, int], formula: Formula
) -> None:
    score = draw(SCORES.build(choice, *sizes))
    query_bqd = torch.randn(2, 3, sizes[0], dtype=torch.float64)
    states_bse = torch.randn(2, 4, sizes[1], dtype=torch.float64)
    energies_bqs = array(score(query_bqd, score.prepare(states_bse)))
    assert energies_bqs.shape == (2, 3, 4)
    for b, q, s in np.ndindex(2, 3, 4):
        expected = formula(score, array(query_bqd[b, q]), array(states_bse[b, s]))
        assert energies_bqs[b, q, s] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_learned_sharpness_begins_at_the_option() -> None:
    score = SCORES.build(ComponentConfig("cosine", {"sharpness": 3.0}), 2, 2).double()
    same_11d = torch.tensor([[[0.6, 0.8]]], dtype=torch.float64)
    assert array(score(same_11d, score.prepare(7 * same_11d))).item() == pytest.approx(
        3.0, rel=1e-6
    )
    assert [name for name, _ in score.named_parameters()] == ["log_sharpness"]


def test_location_score_depends_on_the_query_alone() -> None:
    score = draw(SCORES.build(ComponentConfig("location", {"max_length": 3}), 2, 4))
    query_bqd = torch.randn(2, 2, 2, dtype=torch.float64)
    for length in (1, 3, 5):
        states_bse = torch.randn(2, length, 4, dtype=torch.float64)
        energies_bqs = array(score(query_bqd, score.prepare(states_bse)))
        assert energies_bqs.shape == (2, 2, length)
        for b, q, s in np.ndindex(2, 2, length):
            reached = s < 3
            row = array(score.weight_pd)[s] @ array(query_bqd[b, q]) if reached else -np.inf
            assert energies_bqs[b, q, s] == pytest.approx(row, rel=1e-12)


every_score = pytest.mark.parametrize("choice", list(choices(SCORES)), ids=str)


@every_score
def test_score_gradients(choice: ComponentConfig) -> None:
    score = draw(SCORES.build(choice, 4, 4))
    query_bqd = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    states_bse = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in score.named_parameters()]

    def energies(*values: torch.Tensor) -> torch.Tensor:
        query, states, *parameters = values
        given = dict(zip(names, parameters, strict=True))
        found = torch.func.functional_call(_Whole(score), _inside(given), (query, states))
        return found[found.isfinite()]

    assert torch.autograd.gradcheck(energies, (query_bqd, states_bse, *score.parameters()))


class _Whole(torch.nn.Module):
    """A score that computes its keys itself."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score

    def forward(self, query_bqd: torch.Tensor, states_bse: torch.Tensor) -> torch.Tensor:
        energies_bqs: torch.Tensor = self.score(query_bqd, self.score.prepare(states_bse))
        return energies_bqs


def _inside(parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"score.{name}": value for name, value in parameters.items()}


@every_score
def test_keys_size_is_the_width_of_the_keys(choice: ComponentConfig) -> None:
    score = SCORES.build(choice, 4, 4)
    assert score.prepare(torch.zeros(2, PIECES, 4)).shape == (2, PIECES, score.keys_size)


@pytest.mark.parametrize("choice", list(choices(SCORES, 0)), ids=str)
def test_declared_form_gives_the_energies(choice: ComponentConfig) -> None:
    """The fused recurrence computes the energies from q' and k' by the declared form."""
    score = draw(SCORES.build(choice, 3, 3))
    query_bqd, states_bse = torch.randn(2, 2, 2, 3, dtype=torch.float64).unbind()
    keys_bsa = score.prepare(states_bse)
    energies_bqs = score(query_bqd, keys_bsa)
    if score.form == "bilinear":
        expected_bqs = torch.einsum("bqa,bsa->bqs", score.project(query_bqd), keys_bsa)
    elif score.form == "additive":
        hidden_bqsa = score.project(query_bqd)[:, :, None, :] + keys_bsa[:, None, :, :]
        expected_bqs = torch.einsum("bqsa,a->bqs", hidden_bqsa.tanh(), score.v_a)
    elif score.form == "location":
        expected_bqs = score(query_bqd, score.prepare(torch.randn_like(states_bse)))
    else:
        return
    torch.testing.assert_close(energies_bqs, expected_bqs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["dot", "scaled_dot", "cosine"])
def test_scores_of_equal_width_reject_unequal_widths(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"equal width, got 3 \(decoder\) and 4 \(encoder\).*general"
    ):
        SCORES.build(ComponentConfig(name), 3, 4)
