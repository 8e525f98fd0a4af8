"""Products in 8-bit integers, against those in floating point."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.model.layers.cell import RecurrentLayer
from nmt.model.layers.gru import GRULayer
from nmt.model.layers.int8 import LARGEST, Int8Linear
from nmt.model.layers.lstm import LSTMLayer

INPUTS, UNITS, FED = 8, 16, 8


def _on_grid(*shape: int, step: float = 1.0) -> Tensor:
    """Multiples of a step, the largest of each row LARGEST steps, so that nothing is rounded."""
    whole = torch.randint(-LARGEST, LARGEST + 1, shape).float()
    whole[..., 0] = LARGEST
    return whole * step


def test_the_error_is_at_most_half_a_step_of_each_factor() -> None:
    torch.manual_seed(1)
    weight_vd, bias_v, inputs_nd = torch.randn(32, 24), torch.randn(32), torch.randn(5, 24) * 3
    found_nv = Int8Linear(weight_vd, bias_v)(inputs_nd).double()
    exact_nv = inputs_nd.double() @ weight_vd.double().T + bias_v.double()
    weight_step_v = weight_vd.abs().amax(1) / LARGEST
    input_step_n1 = inputs_nd.abs().amax(1, keepdim=True) / LARGEST
    by_weights_nv = inputs_nd.abs().sum(1, keepdim=True) * weight_step_v / 2
    by_inputs_nv = input_step_n1 / 2 * weight_vd.abs().sum(1)
    by_both_nv = 24 * weight_step_v / 2 * input_step_n1 / 2
    limit_nv = by_weights_nv + by_inputs_nv + by_both_nv
    error_nv = (found_nv - exact_nv).abs()
    assert (error_nv <= 1.001 * limit_nv).all()
    assert error_nv.max() > 1e-4, "an exact result would mean that nothing was rounded"


def test_numbers_on_the_grid_are_multiplied_exactly() -> None:
    torch.manual_seed(2)
    weight_vd, inputs_nd = _on_grid(32, 24, step=0.5), _on_grid(5, 24, step=0.25)
    assert torch.equal(Int8Linear(weight_vd)(inputs_nd), inputs_nd @ weight_vd.T)


def test_a_row_alone_has_the_bits_that_it_has_beside_others() -> None:
    torch.manual_seed(4)
    layer, inputs_nd = Int8Linear(torch.randn(32, 24)), torch.randn(7, 24)
    inputs_nd[3] *= 100
    together_nv = layer(inputs_nd)
    for row in range(7):
        assert torch.equal(layer(inputs_nd[row : row + 1])[0], together_nv[row])


def test_a_row_of_zeros_gives_the_bias() -> None:
    bias_v = torch.randn(32)
    assert torch.equal(Int8Linear(torch.zeros(32, 24), bias_v)(torch.zeros(1, 24))[0], bias_v)


def _layer(kind: type[RecurrentLayer], fed: int) -> Any:
    """A layer whose weights lie on the grid."""
    layer: Any = kind(INPUTS, UNITS, fed)
    with torch.no_grad():
        for part in (layer.input, layer.recurrent):
            rows = len(part.weight)
            columns = [_on_grid(rows, size, step=0.001) for size in part.sizes]
            part.weight.copy_(torch.cat(columns, dim=1))
        layer.bias.normal_()
    return layer


@pytest.mark.parametrize("kind", [LSTMLayer, GRULayer])
@pytest.mark.parametrize("fed", [0, FED])
def test_a_rounded_step_is_the_step_where_nothing_is_lost(
    kind: type[RecurrentLayer], fed: int
) -> None:
    torch.manual_seed(5)
    layer, rounded = _layer(kind, fed), kind(INPUTS, UNITS, fed)
    rounded.load_state_dict(layer.state_dict())
    for part in (rounded.input, rounded.recurrent):
        part.fix(Int8Linear)
    unit = 1 / LARGEST
    inputs_nm, hidden_nd = _on_grid(3, INPUTS, step=unit), _on_grid(3, UNITS, step=unit)
    fed_nf = _on_grid(3, fed, step=unit) if fed else None
    found, exact = (
        part.step(part.project(inputs_nm), part.begin(hidden_nd), fed_nf)
        for part in (rounded, layer)
    )
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
    sizes = [sum(kept.nbytes for kept in part.state_dict().values()) for part in (rounded, layer)]
    assert sizes[0] < sizes[1] / 2, "the weights in floating point are let go"
