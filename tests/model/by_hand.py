"""The papers' formulas in NumPy, one sentence at a time, from a module's own parameters."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nmt.model.layers.lstm import LSTMLayer

Array = NDArray[np.float64]


def array(tensor: Any) -> Array:
    """The values of a float64 tensor."""
    assert isinstance(tensor, Tensor)
    assert tensor.dtype == torch.float64
    return tensor.detach().numpy()


def draw(module: nn.Module, seed: int = 3) -> Any:
    """The module in float64 with all parameters drawn anew, so that no bias is zero."""
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
    """h_t and c_t of Hochreiter and Schmidhuber's cell with forget gates."""
    weights = np.concatenate([array(layer.input_weight), array(layer.recurrent_weight)], axis=1)
    gates = weights @ np.concatenate([entering, hidden, *fed]) + array(layer.bias)
    write, keep, new, show = gates.reshape(4, -1)
    cell = sigmoid(keep) * cell + sigmoid(write) * np.tanh(new)
    return sigmoid(show) * np.tanh(cell), cell
