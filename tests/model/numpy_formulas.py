"""Formulas of papers in NumPy, one sentence at a time, with the parameters of a module."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nmt.model.layers.lstmn import LSTMNLayer
from nmt.model.layers.recurrent import GRULayer, LSTMLayer

Array = NDArray[np.float64]


def array(tensor: Any) -> Array:
    """Return the values of a float64 tensor."""
    assert isinstance(tensor, Tensor)
    assert tensor.dtype == torch.float64
    return tensor.detach().numpy()


def draw(module: nn.Module, seed: int = 3) -> Any:
    """Return the module in float64 with random parameters, so that no bias is zero."""
    torch.manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    return module


def softmax(energies: Array) -> Array:
    masses = np.exp(energies - energies.max())
    return masses / masses.sum()


def sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


def lstm_step(
    layer: LSTMLayer, entering: Array, hidden: Array, cell: Array, *fed: Array
) -> tuple[Array, Array]:
    """Compute h_t and c_t of an LSTM with forget gates."""
    weights = np.concatenate([array(layer.input.weight), array(layer.recurrent.weight)], axis=1)
    gates = weights @ np.concatenate([entering, hidden, *fed]) + array(layer.bias)
    write, keep, new, show = gates.reshape(4, -1)
    cell = sigmoid(keep) * cell + sigmoid(write) * np.tanh(new)
    return sigmoid(show) * np.tanh(cell), cell


def gru_step(layer: GRULayer, entering: Array, hidden: Array, *fed: Array) -> Array:
    """Compute h_t of a GRU whose reset gate multiplies the product."""
    size = len(hidden)
    recurrent = array(layer.recurrent.weight)
    given = array(layer.input.weight) @ entering + array(layer.bias)
    if fed:
        given = given + recurrent[:, size:] @ np.concatenate(fed)
    kept = recurrent[:, :size] @ hidden
    reset = sigmoid(given[:size] + kept[:size])
    keep = sigmoid(given[size : 2 * size] + kept[size : 2 * size])
    new = np.tanh(given[2 * size :] + reset * (kept[2 * size :] + array(layer.reset_bias)))
    return (1 - keep) * new + keep * hidden


def normalize(values: Array) -> Array:
    """Return values with mean 0 and variance 1, with the epsilon of torch in the variance."""
    centered = values - values.mean()
    return centered / np.sqrt((centered**2).mean() + 1e-5)


def normalized_lstm_step(
    layer: Any, entering: Array, hidden: Array, cell: Array, *fed: Array
) -> tuple[Array, Array]:
    """Compute h_t and c_t of an LSTM with layer normalization; Ba et al. 2016, eqs. 20-22."""
    size, recurrent = len(hidden), array(layer.recurrent.weight)
    given = array(layer.input.weight) @ entering
    if fed:
        given = given + recurrent[:, size:] @ np.concatenate(fed)
    gates = array(layer.recurrent_norm.weight) * normalize(recurrent[:, :size] @ hidden)
    gates = gates + array(layer.input_norm.weight) * normalize(given) + array(layer.bias)
    write, keep, new, show = gates.reshape(4, -1)
    cell = sigmoid(keep) * cell + sigmoid(write) * np.tanh(new)
    shown = array(layer.cell_norm.weight) * normalize(cell) + array(layer.cell_norm.bias)
    return sigmoid(show) * np.tanh(shown), cell


def gate_norm_lstm_step(
    layer: Any, entering: Array, hidden: Array, cell: Array, *fed: Array
) -> tuple[Array, Array]:
    """Compute h_t and c_t of an LSTM of RNMT+; each gate is normalized, and the output is not."""
    weights = np.concatenate([array(layer.input.weight), array(layer.recurrent.weight)], axis=1)
    gates = (weights @ np.concatenate([entering, hidden, *fed])).reshape(4, -1)
    gates = np.stack([normalize(gate) for gate in gates]).reshape(-1)
    gates = gates * array(layer.norm.weight) + array(layer.norm.bias)
    write, keep, new, show = gates.reshape(4, -1)
    cell = sigmoid(keep) * cell + sigmoid(write) * np.tanh(new)
    return sigmoid(show) * cell, cell


def normalized_gru_step(layer: Any, entering: Array, hidden: Array, *fed: Array) -> Array:
    """Compute h_t of a GRU whose gates are normalized together and its new value apart."""
    size, recurrent = len(hidden), array(layer.recurrent.weight)
    given = array(layer.input.weight) @ entering
    if fed:
        given = given + recurrent[:, size:] @ np.concatenate(fed)
    kept = recurrent[:, :size] @ hidden
    gates, new = slice(None, 2 * size), slice(2 * size, None)
    input_gain, gain = array(layer.input_norm.weight), array(layer.recurrent_norm.weight)
    bias = array(layer.bias)
    both = input_gain[gates] * normalize(given[gates]) + gain[gates] * normalize(kept[gates])
    reset, keep = sigmoid(both + bias[gates]).reshape(2, -1)
    inner = gain[new] * normalize(kept[new]) + array(layer.reset_bias)
    value = np.tanh(input_gain[new] * normalize(given[new]) + bias[new] + reset * inner)
    return (1 - keep) * value + keep * hidden


def recurrent_step(
    layer: Any, entering: Array, hidden: Array, cell: Array, *fed: Array
) -> tuple[Array, Array]:
    """Compute h_t and c_t of an LSTM or a GRU, which leaves c unchanged."""
    if isinstance(layer, GRULayer):
        return gru_step(layer, entering, hidden, *fed), cell
    return lstm_step(layer, entering, hidden, cell, *fed)


def lstmn_step(
    layer: LSTMNLayer,
    entering: Array,
    places: list[tuple[Array, Array]],
    recalled: Array,
    *,
    carried: Array | float = 0.0,
) -> tuple[tuple[Array, Array], Array, Array]:
    """Compute (h_t, c_t), h~_t and s of an LSTMN from the earlier (h_i, c_i) and h~_{t-1}."""
    size = len(recalled)
    weights = [w for w in (layer.input_weight, layer.feedback_weight) if w is not None]
    given = np.concatenate([array(weight) for weight in weights], axis=1) @ entering
    back = array(layer.recalled_weight)
    asked = given[4 * size :] + back[4 * size :] @ recalled
    keys = [array(layer.key_weight_ad) @ hidden for hidden, _ in places]
    energies = np.array([array(layer.v_a) @ np.tanh(key + asked) for key in keys])
    shares = softmax(energies) if places else energies
    recalled, cell = np.zeros(size), np.zeros(size)
    for share, place in zip(shares, places, strict=True):
        recalled, cell = recalled + share * place[0], cell + share * place[1]
    gates = given[: 4 * size] + back[: 4 * size] @ recalled + array(layer.bias)
    write, keep, new, show = gates.reshape(4, -1)
    cell = carried + sigmoid(keep) * cell + sigmoid(write) * np.tanh(new)
    return (sigmoid(show) * np.tanh(cell), cell), recalled, shares
