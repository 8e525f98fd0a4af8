"""The GNMT encoder against NumPy, for one sentence."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.model.encoders.gnmt import GNMTEncoder
from tests.model.numpy_formulas import Array, array, draw, recurrent_step

UNITS = 3
WHOLE = torch.ones(1, 5, dtype=torch.bool)


def _run(layer: Any, inputs: list[Array]) -> tuple[list[Array], Array]:
    """Compute all hidden states of a layer and its last cell."""
    hidden, cell = np.zeros(UNITS), np.zeros(UNITS)
    states = []
    for entering in inputs:
        hidden, cell = recurrent_step(layer, entering, hidden, cell)
        states.append(hidden)
    return states, cell


def _with_numpy(
    encoder: GNMTEncoder, inputs: list[Array]
) -> tuple[Array, list[Array], list[Array]]:
    """Compute annotations and the last hidden state and cell of each layer."""
    forward, backward = encoder.bottom
    right, _ = _run(forward, inputs)
    left, cell = _run(backward, inputs[::-1])
    below = [np.concatenate(pair) for pair in zip(right, left[::-1], strict=True)]
    hidden, cells = [left[-1]], [cell]
    for number, layer in enumerate(encoder.upper, start=2):
        states, cell = _run(layer, below)
        hidden.append(states[-1])
        cells.append(cell)
        if encoder.residual and number >= 3:
            states = [state + link for state, link in zip(states, below, strict=True)]
        below = states
    return np.stack(below), hidden, cells


@pytest.mark.parametrize("layers", [2, 3, 5])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("residual", [True, False], ids=["residual", "none"])
def test_encoder_equals_the_equations_of_the_paper(layers: int, cell: Any, residual: bool) -> None:
    options = {"residual": residual} if layers > 2 else {}
    encoder = draw(GNMTEncoder(2, hidden_size=UNITS, layers=layers, cell=cell, **options))
    encoder.keeps_cells = cell == "lstm"
    embedded_bsm = torch.randn(1, 5, 2, dtype=torch.float64)
    encoded = encoder(embedded_bsm, WHOLE)
    annotations, hidden, cells = _with_numpy(encoder, list(array(embedded_bsm)[0]))
    np.testing.assert_allclose(array(encoded.states_bse)[0], annotations, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        array(encoded.layer_states.hidden_ble)[0], hidden, rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(array(encoded.final_state_bx)[0], hidden[-1], rtol=1e-10, atol=1e-12)
    if cell == "lstm":
        np.testing.assert_allclose(
            array(encoded.layer_states.cell_ble)[0], cells, rtol=1e-10, atol=1e-12
        )
    sizes = (encoder.output_size, encoder.final_state_size, encoder.layers, encoder.has_cells)
    assert sizes == (UNITS, UNITS, layers, cell == "lstm")


def test_addend_of_a_residual_connection_is_not_dropped() -> None:
    """Layers of zeros output zeros; residual connections carry the second layer to the top."""
    encoder = draw(GNMTEncoder(2, hidden_size=UNITS, layers=4, dropout=0.9))
    with torch.no_grad():
        for parameter in encoder.upper[1:].parameters():
            parameter.zero_()
    assert encoder.training
    annotations_bse = encoder(torch.randn(1, 5, 2, dtype=torch.float64), WHOLE).states_bse
    assert (annotations_bse != 0).all()


REFUSED = {
    "requires at least 2 layers; add layers or use encoder 'bilstm'": {"layers": 1},
    "residual has no effect with fewer than 3 layers": {"layers": 2, "residual": False},
}


@pytest.mark.parametrize(("message", "options"), REFUSED.items(), ids=REFUSED.keys())
def test_incompatible_options_are_rejected(message: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        GNMTEncoder(2, **options)
