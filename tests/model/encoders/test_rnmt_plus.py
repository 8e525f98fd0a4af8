"""The RNMT+ encoder against NumPy, for one sentence."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.model.encoders.rnmt_plus import RNMTPlusEncoder
from tests.model.numpy_formulas import Array, array, draw, gate_norm_lstm_step

UNITS = 3
WHOLE = torch.ones(1, 5, dtype=torch.bool)


def _run(layer: Any, inputs: list[Array]) -> tuple[list[Array], Array]:
    """Compute all hidden states of a layer and its last cell."""
    hidden, cell = np.zeros(UNITS), np.zeros(UNITS)
    states = []
    for entering in inputs:
        hidden, cell = gate_norm_lstm_step(layer, entering, hidden, cell)
        states.append(hidden)
    return states, cell


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_encoder_equals_the_equations_of_the_paper(layers: int) -> None:
    encoder = draw(RNMTPlusEncoder(2, hidden_size=UNITS, layers=layers))
    encoder.keeps_cells = True
    embedded_bsm = torch.randn(1, 5, 2, dtype=torch.float64)
    encoded = encoder(embedded_bsm, WHOLE)
    below, last, cells = list(array(embedded_bsm)[0]), [], []
    for number, (forward, backward) in enumerate(encoder.stack, start=1):
        right, _ = _run(forward, below)
        left, cell = _run(backward, below[::-1])
        states = [np.concatenate(pair) for pair in zip(right, left[::-1], strict=True)]
        below = [s + b for s, b in zip(states, below, strict=True)] if number > 2 else states
        last.append(left[-1])
        cells.append(cell)
    weight, bias = array(encoder.projection.weight), array(encoder.projection.bias)
    expected = np.stack(below) @ weight.T + bias
    np.testing.assert_allclose(array(encoded.states_bse)[0], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(array(encoded.layer_states.hidden_ble)[0], last, rtol=1e-9)
    np.testing.assert_allclose(array(encoded.layer_states.cell_ble)[0], cells, rtol=1e-9)
    np.testing.assert_allclose(array(encoded.final_state_bx)[0], last[-1], rtol=1e-9)


def test_outputs_of_layers_are_dropped_and_addends_are_not() -> None:
    """The third layer of zeros adds nothing, whatever its dropout: x^3 = x^2."""
    encoder = draw(RNMTPlusEncoder(2, hidden_size=40, layers=3, dropout=0.5))
    with torch.no_grad():
        for parameter in encoder.stack[2].parameters():
            parameter.zero_()
        encoder.projection.weight.copy_(torch.eye(40, 80))
        encoder.projection.bias.zero_()
    torch.manual_seed(3)
    annotations_bse = encoder(torch.randn(1, 5, 2, dtype=torch.float64), WHOLE).states_bse
    # Only the dropout of the second layer is left.
    assert float((annotations_bse == 0).double().mean()) == pytest.approx(0.5, abs=0.1)
