"""Recurrent layers: single steps against NumPy, sequences against steps."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.model.layers import cudnn, recurrent
from nmt.model.layers.lstmn import LSTMNLayer
from nmt.model.layers.normalized import (
    GateNormLSTMLayer,
    NormalizedGRULayer,
    NormalizedLSTMLayer,
)
from nmt.model.layers.recurrent import GRULayer, LSTMLayer, RecurrentLayer
from nmt.model.layers.recurrent_stack import (
    CELLS,
    NORMALIZED_CELLS,
    LayerOptions,
    RecurrentStack,
)
from tests.model.numpy_formulas import (
    array,
    draw,
    gru_step,
    lstm_step,
    normalized_gru_step,
    normalized_lstm_step,
)

INPUTS, UNITS, FED = 3, 40, 2
every_cell = pytest.mark.parametrize("kind", CELLS.values(), ids=CELLS.keys())
every_layer = pytest.mark.parametrize(
    "kind", [*CELLS.values(), *NORMALIZED_CELLS.values(), GateNormLSTMLayer]
)


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


@pytest.mark.parametrize("fed", [0, FED])
@pytest.mark.parametrize("kind", NORMALIZED_CELLS.values(), ids=NORMALIZED_CELLS.keys())
def test_normalized_step_equals_the_formula(kind: type[RecurrentLayer], fed: int) -> None:
    layer = draw(kind(INPUTS, UNITS, fed))
    state = layer.initial_state(torch.randn(1, UNITS, dtype=torch.float64))
    hidden, cell = array(state.hidden_nd)[0], np.zeros(UNITS)
    for _ in range(3):
        given_1m = torch.randn(1, INPUTS, dtype=torch.float64)
        fed_1f = torch.randn(1, fed, dtype=torch.float64) if fed else None
        state = layer.step(layer.project(given_1m), state, fed_1f)
        parts = [] if fed_1f is None else [array(fed_1f)[0]]
        if isinstance(layer, NormalizedLSTMLayer):
            hidden, cell = normalized_lstm_step(layer, array(given_1m)[0], hidden, cell, *parts)
            np.testing.assert_allclose(array(state.cell_nd)[0], cell, rtol=1e-10)
        else:
            hidden = normalized_gru_step(layer, array(given_1m)[0], hidden, *parts)
        np.testing.assert_allclose(array(state.hidden_nd)[0], hidden, rtol=1e-10)


@every_layer
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


@pytest.mark.parametrize(
    ("kind", "columns"), [(LSTMLayer, 1), (LSTMLayer, 8), (NormalizedLSTMLayer, 1)]
)
def test_held_steps_keep_the_cell(
    kind: type[RecurrentLayer], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns == 8:  # as on a GPU
        monkeypatch.setattr(recurrent, "_hold_columns", lambda _: columns)
    layer = draw(kind(INPUTS, UNITS))
    inputs_tnm = torch.randn(5, 2, INPUTS, dtype=torch.float64)
    hold_tn = torch.tensor([[False] * 2] * 3 + [[True, False]] * 2)
    _, held = layer.sequence(inputs_tnm, hold_tn=hold_tn)
    _, short = layer.sequence(inputs_tnm[:3])
    _, whole = layer.sequence(inputs_tnm)
    torch.testing.assert_close(held.cell_nd[0], short.cell_nd[0], rtol=1e-13, atol=0)
    torch.testing.assert_close(held.cell_nd[1], whole.cell_nd[1], rtol=1e-13, atol=0)


@pytest.fixture
def cudnn_buffers(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The weights that torch's layer receives on a GPU; a CPU uses the same ones in this test."""
    monkeypatch.setattr(recurrent, "supports_training", lambda _: False)
    received = []

    def record(weights: Any, dtype: torch.dtype) -> list[Tensor]:
        received.append(cudnn.cudnn_weights(weights, dtype))
        return received[-1]

    monkeypatch.setattr(recurrent, "cast_weights", record)
    return received


@every_cell
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_cudnn_follow_each_other_in_one_buffer(
    kind: type[RecurrentLayer], dtype: torch.dtype, cudnn_buffers: list[list[Tensor]]
) -> None:
    layer = kind(INPUTS, UNITS)
    inputs_tnm = torch.randn(5, 2, INPUTS)
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        layer.sequence(inputs_tnm)
    (weights,) = cudnn_buffers
    gates = layer.gates * UNITS
    assert [tuple(w.shape) for w in weights] == [
        (gates, INPUTS),
        (gates, UNITS),
        (gates,),
        (gates,),
    ]
    start = weights[0].untyped_storage().data_ptr()
    for weight in weights:
        assert weight.data_ptr() == start
        assert weight.is_contiguous()
        assert weight.dtype == dtype
        start += weight.nbytes
    assert weights[0].untyped_storage().nbytes() == sum(w.nbytes for w in weights)


@every_cell
def test_one_buffer_gives_the_same_bits_as_single_weights(
    kind: type[RecurrentLayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent, "supports_training", lambda _: False)
    layer = kind(INPUTS, UNITS)
    layer.bias.data.normal_()
    inputs_tnm = torch.randn(5, 2, INPUTS)
    hold_tn = torch.zeros(5, 2, dtype=torch.bool) if layer.has_cell else None
    found = []
    for cast in (cudnn.cast_weights, cudnn.cudnn_weights):
        monkeypatch.setattr(recurrent, "cast_weights", cast)
        layer.zero_grad()
        outputs_tnd, last = layer.sequence(inputs_tnm, hold_tn=hold_tn)
        backward(outputs_tnd.square().sum())
        gradients = [p.grad for p in layer.parameters()]
        assert all(gradient is not None and gradient.any() for gradient in gradients)
        found.append([outputs_tnd, last, *gradients])
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize(("version", "warnings"), [((2, 9), 1), ((2, 10), 0)])
def test_bf16_without_cudnn_is_one_warning(
    version: tuple[int, int],
    warnings: int,
    monkeypatch: pytest.MonkeyPatch,
    log_text: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cudnn, "TORCH_VERSION", version)
    cudnn._warn_of_bfloat16.cache_clear()
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.bfloat16):
        cudnn.cudnn_weights([torch.ones(2, 2)], dtype)
    assert len(log_text.records) == warnings
    assert all("install torch 2.10" in record.getMessage() for record in log_text.records)


def _assert_orthogonal_gates(weight_gd: Tensor) -> None:
    for gate in torch.split(weight_gd.detach(), UNITS):
        torch.testing.assert_close(gate @ gate.T, torch.eye(UNITS), rtol=0, atol=1e-5)


def _assert_glorot(weight_gx: Tensor, rows: int) -> None:
    """Check bound and spread of each gate's matrix. Glorot and Bengio 2010, eq. 16."""
    for gate in torch.split(weight_gx.detach(), rows):
        bound = sqrt(6 / sum(gate.shape))
        assert gate.abs().max() <= bound
        # The standard deviation of U(-a, a) is a / √3.
        assert 0.9 < gate.std() * sqrt(3) / bound < 1.1


@every_layer
@pytest.mark.parametrize("feedback", [0, 30])
def test_initialization_of_a_layer(kind: type[RecurrentLayer], feedback: int) -> None:
    torch.manual_seed(4)
    layer = kind((20, 30), UNITS, feedback)
    _assert_orthogonal_gates(layer.recurrent.weight[:, :UNITS])
    _assert_glorot(layer.input.weight, UNITS)
    if feedback:
        _assert_glorot(layer.recurrent.weight[:, UNITS:], UNITS)
    bias_g = torch.zeros(layer.gates * UNITS)
    if layer.has_cell:
        bias_g[UNITS : 2 * UNITS] = 1.0  # the forget gate is the second one
    assert torch.equal(layer.bias.detach(), bias_g)
    others = [p for name, p in layer.named_parameters() if name == "reset_bias"]
    assert all(torch.equal(p.detach(), torch.zeros(UNITS)) for p in others)
    gains = [p for name, p in layer.named_parameters() if name.endswith("norm.weight")]
    expected: dict[type, int] = {
        NormalizedLSTMLayer: 3,
        NormalizedGRULayer: 2,
        GateNormLSTMLayer: 1,
    }
    assert len(gains) == expected.get(kind, 0)
    assert all(bool((gain == 1).all()) for gain in gains)


@pytest.mark.parametrize("feedback", [0, 30])
def test_initialization_of_an_lstmn_layer(feedback: int) -> None:
    torch.manual_seed(5)
    layer = LSTMNLayer(20, UNITS, attention_size=25, feedback_size=feedback)
    gates = LSTMLayer.gates * UNITS
    _assert_orthogonal_gates(layer.recalled_weight[:gates])
    _assert_glorot(layer.recalled_weight[gates:], 25)
    _assert_glorot(layer.key_weight_ad, 25)
    for weight in (layer.input_weight, layer.feedback_weight):
        if weight is not None:
            _assert_glorot(weight[:gates], UNITS)
            _assert_glorot(weight[gates:], 25)
    assert (layer.feedback_weight is None) == (feedback == 0)
    bias_g = torch.zeros(gates)
    bias_g[UNITS : 2 * UNITS] = 1.0
    assert torch.equal(layer.bias.detach(), bias_g)


@every_cell
def test_initialization_of_a_stack_is_that_of_its_layers(kind: type[RecurrentLayer]) -> None:
    cell: Any = next(name for name, other in CELLS.items() if other is kind)
    stack = RecurrentStack(LayerOptions(cell), 20, 30, UNITS, layers=3, dropout=0.0)
    for layer in stack.layers:
        _assert_orthogonal_gates(layer.recurrent.weight[:, :UNITS])
        assert layer.bias.sum() == (UNITS if kind is LSTMLayer else 0)
