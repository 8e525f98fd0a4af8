"""The LSTMN layer against its formulas in NumPy."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.model.layers.lstmn import LSTMNLayer, weight_matrix
from nmt.model.layers.recurrent import LayerState
from tests.model.numpy_formulas import Array, array, draw, lstmn_step

INPUTS, UNITS, ALIGNMENT, FED, STEPS = 3, 4, 5, 2, 5


def _random(*sizes: int) -> Tensor:
    return torch.randn(*sizes, dtype=torch.float64)


def test_sequence_equals_the_formula_from_empty_tapes() -> None:
    layer = draw(LSTMNLayer(INPUTS, UNITS, ALIGNMENT))
    inputs_tnm = _random(STEPS, 2, INPUTS)
    written_tnw, weights = layer.sequence(inputs_tnm)
    matrix_ntt = weight_matrix(weights)
    for row in range(2):
        places: list[tuple[Array, Array]] = []
        recalled = np.zeros(UNITS)
        for step in range(STEPS):
            entering = array(inputs_tnm)[step, row]
            place, recalled, shares = lstmn_step(layer, entering, places, recalled)
            ours = array(weights[step])[row]
            np.testing.assert_allclose(ours, shares, rtol=1e-12)
            np.testing.assert_array_equal(array(matrix_ntt)[row, step, step:], 0.0)
            np.testing.assert_array_equal(array(matrix_ntt)[row, step, :step], ours)
            places.append(place)
        expected = np.stack([np.concatenate(place) for place in places])
        np.testing.assert_allclose(array(written_tnw)[:, row], expected, rtol=1e-10)


def test_step_with_feedback_and_addend_of_the_cell() -> None:
    layer = draw(LSTMNLayer(INPUTS, UNITS, ALIGNMENT, FED))
    hidden_nd, cell_nd = _random(1, UNITS), _random(1, UNITS)
    tapes: Any = layer.initial_tapes(LayerState(hidden_nd, cell_nd))
    places, recalled = [(array(hidden_nd)[0], array(cell_nd)[0])], np.zeros(UNITS)
    for _ in range(STEPS):
        given_nm, fed_nf, carried_nd = _random(1, INPUTS), _random(1, FED), _random(1, UNITS)
        tapes = layer.step(layer.project(given_nm), tapes, fed_nf, carried_nd)
        entering = np.concatenate([array(given_nm)[0], array(fed_nf)[0]])
        place, recalled, shares = lstmn_step(
            layer, entering, places, recalled, carried=array(carried_nd)[0]
        )
        places.append(place)
        np.testing.assert_allclose(array(tapes.hidden_nd)[0], place[0], rtol=1e-10)
        np.testing.assert_allclose(array(tapes.entries_ntx)[0, -1, UNITS:], place[1], rtol=1e-10)
        np.testing.assert_allclose(array(tapes.weights_nt)[0], shares, rtol=1e-10)
    assert tapes.entries_ntx.shape == (1, STEPS + 1, 2 * UNITS)


def test_layer_on_the_meta_device_does_not_import_torch_dynamo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # importing it raises an error
    with torch.device("meta"):
        layer = LSTMNLayer(INPUTS, UNITS, ALIGNMENT, FED)
    assert layer.input_weight.shape == (4 * UNITS + ALIGNMENT, INPUTS)
