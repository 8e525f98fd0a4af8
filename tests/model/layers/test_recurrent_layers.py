"""Recurrent layers a step at a time, against the formulas in NumPy and against a sequence."""

import numpy as np
import pytest
import torch

from nmt.model.layers.recurrent import GRULayer, LSTMLayer, RecurrentLayer
from tests.model.by_hand import array, draw, gru_step, lstm_step

INPUTS, UNITS, FED = 3, 4, 2


@pytest.mark.parametrize("fed", [0, FED])
def test_gru_step_equals_the_formula(fed: int) -> None:
    layer = draw(GRULayer(INPUTS, UNITS, fed))
    state = layer.initial_state(torch.randn(1, UNITS, dtype=torch.float64))
    assert state.cell_nd is None
    hidden = array(state.hidden_nd)[0]
    for _ in range(3):
        given_1m = torch.randn(1, INPUTS, dtype=torch.float64)
        fed_1f = torch.randn(1, fed, dtype=torch.float64) if fed else None
        state = layer.step(layer.project(given_1m), state, fed_1f)
        parts = [] if fed_1f is None else [array(fed_1f)[0]]
        hidden = gru_step(layer, array(given_1m)[0], hidden, *parts)
        np.testing.assert_allclose(array(state.hidden_nd)[0], hidden, rtol=1e-12)


@pytest.mark.parametrize("fed", [0, FED])
def test_lstm_step_equals_the_formula(fed: int) -> None:
    layer = draw(LSTMLayer(INPUTS, UNITS, fed))
    state = layer.initial_state(torch.randn(1, UNITS, dtype=torch.float64))
    hidden, cell = array(state.hidden_nd)[0], np.zeros(UNITS)
    for _ in range(3):
        given_1m = torch.randn(1, INPUTS, dtype=torch.float64)
        fed_1f = torch.randn(1, fed, dtype=torch.float64) if fed else None
        state = layer.step(layer.project(given_1m), state, fed_1f)
        parts = [] if fed_1f is None else [array(fed_1f)[0]]
        hidden, cell = lstm_step(layer, array(given_1m)[0], hidden, cell, *parts)
        np.testing.assert_allclose(array(state.hidden_nd)[0], hidden, rtol=1e-12)
        np.testing.assert_allclose(array(state.cell_nd)[0], cell, rtol=1e-12)


@pytest.mark.parametrize("kind", [LSTMLayer, GRULayer])
def test_sequence_equals_its_steps(kind: type[RecurrentLayer]) -> None:
    layer: RecurrentLayer = draw(kind(INPUTS, UNITS))
    inputs_tnm = torch.randn(5, 2, INPUTS, dtype=torch.float64)
    begun = layer.initial_state(torch.randn(2, UNITS, dtype=torch.float64))
    states_tnd, last = layer.sequence(inputs_tnm, begun)
    state = begun
    for given_nm, expected_nd in zip(inputs_tnm, states_tnd, strict=True):
        state = layer.step(layer.project(given_nm), state)
        torch.testing.assert_close(state.hidden_nd, expected_nd, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=1e-10, atol=1e-12)


def test_held_steps_keep_the_cell() -> None:
    layer = draw(LSTMLayer(INPUTS, UNITS))
    inputs_tnm = torch.randn(5, 2, INPUTS, dtype=torch.float64)
    hold_tn = torch.tensor([[False] * 2] * 3 + [[True, False]] * 2)
    _, held = layer.sequence(inputs_tnm, hold_tn=hold_tn)
    _, short = layer.sequence(inputs_tnm[:3])
    _, whole = layer.sequence(inputs_tnm)
    torch.testing.assert_close(held.cell_nd[0], short.cell_nd[0], rtol=1e-13, atol=0)
    torch.testing.assert_close(held.cell_nd[1], whole.cell_nd[1], rtol=1e-13, atol=0)
