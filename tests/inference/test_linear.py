"""Prepacked and 8-bit integer products against products in float64."""

import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from nmt.inference import linear as inference_linear
from nmt.inference.linear import (
    INT8_MAX,
    UINT8_ZERO,
    Int8Linear,
    Int8Product,
    PrepackedInt8Product,
    PrepackedLinear,
    SplitConcatLinear,
    replace_linear_layers,
    supports_prepacked_int8,
    supports_prepacking,
)
from nmt.model.layers.linear import ConcatLinear
from nmt.model.layers.normalized import NormalizedLSTMLayer
from nmt.model.layers.recurrent import GRULayer, LSTMLayer, RecurrentLayer

INPUTS, UNITS, FEEDBACK = 8, 16, 8
needs_prepacking = pytest.mark.skipif(not supports_prepacking(), reason="oneDNN packs nothing here")


@needs_prepacking
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 5, 300])
def test_prepacked_product_equals_float32_product(rows: int, bias: bool) -> None:
    torch.manual_seed(1)
    weight_vd, inputs_nd = torch.randn(80, 96), torch.randn(rows, 96)
    bias_v = torch.randn(80) if bias else None
    exact_nv = linear(
        inputs_nd.double(), weight_vd.double(), bias_v.double() if bias_v is not None else None
    )
    found_nv = PrepackedLinear(weight_vd, bias_v)(inputs_nd)
    assert found_nv.dtype == torch.float32
    assert (found_nv - exact_nv).norm() < 1e-6 * exact_nv.norm()


@needs_prepacking
def test_bits_of_a_prepacked_row_do_not_depend_on_the_number_of_rows() -> None:
    torch.manual_seed(2)
    layer, inputs_nd = (
        PrepackedLinear(torch.randn(512, 256), torch.randn(512)),
        torch.randn(97, 256),
    )
    whole_nv = layer(inputs_nd)
    for rows in (1, 2, 3, 7, 16, 33, 64):
        for start in (0, 5, 97 - rows):
            part_nv = layer(inputs_nd[start : start + rows])
            assert torch.equal(part_nv, whole_nv[start : start + rows])


@needs_prepacking
def test_prepacked_layer_accepts_strided_inputs_with_more_axes() -> None:
    torch.manual_seed(3)
    weight_vd, inputs_bad = torch.randn(48, 32), torch.randn(4, 32, 3)
    inputs_bad = inputs_bad.mT
    found = PrepackedLinear(weight_vd)(inputs_bad)
    torch.testing.assert_close(found, linear(inputs_bad, weight_vd), rtol=1e-5, atol=1e-5)


@needs_prepacking
def test_prepacking_copies_the_weight() -> None:
    weight_vd = torch.randn(48, 32)
    before = weight_vd.clone()
    PrepackedLinear(weight_vd)
    assert torch.equal(weight_vd, before)


def test_prepacking_is_unsupported_without_the_operator_or_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(inference_linear.PrepackedLinear, "__init__", fail)
    assert supports_prepacking.__wrapped__() is False
    monkeypatch.undo()
    monkeypatch.setattr(PrepackedLinear, "forward", lambda self, x: x.bfloat16().float())
    assert supports_prepacking.__wrapped__() is False


def _on_grid(*shape: int, step: float = 1.0) -> Tensor:
    """Draw multiples of a step, the largest of each row INT8_MAX steps: quantized exactly."""
    whole = torch.randint(-INT8_MAX, INT8_MAX + 1, shape).float()
    whole[..., 0] = INT8_MAX
    return whole * step


@pytest.mark.usefixtures("elementwise")
def test_int8_error_is_at_most_half_a_step_of_each_factor() -> None:
    torch.manual_seed(1)
    weight_vd, bias_v, inputs_nd = torch.randn(32, 24), torch.randn(32), torch.randn(5, 24) * 3
    found_nv = Int8Linear(weight_vd, bias_v)(inputs_nd).double()
    exact_nv = inputs_nd.double() @ weight_vd.double().T + bias_v.double()
    weight_step_v = weight_vd.abs().amax(1) / INT8_MAX
    input_step_n1 = inputs_nd.abs().amax(1, keepdim=True) / INT8_MAX
    by_weights_nv = inputs_nd.abs().sum(1, keepdim=True) * weight_step_v / 2
    by_inputs_nv = input_step_n1 / 2 * weight_vd.abs().sum(1)
    by_both_nv = 24 * weight_step_v / 2 * input_step_n1 / 2
    limit_nv = by_weights_nv + by_inputs_nv + by_both_nv
    error_nv = (found_nv - exact_nv).abs()
    assert (error_nv <= 1.001 * limit_nv).all()
    assert error_nv.max() > 1e-4, "an exact result would mean that nothing was quantized"


def test_int8_product_of_numbers_on_the_grid_is_exact() -> None:
    torch.manual_seed(2)
    weight_vd, inputs_nd = _on_grid(32, 24, step=0.5), _on_grid(5, 24, step=0.25)
    assert torch.equal(Int8Linear(weight_vd)(inputs_nd), inputs_nd @ weight_vd.T)


@pytest.mark.usefixtures("elementwise")
def test_bits_of_an_int8_row_do_not_depend_on_other_rows() -> None:
    torch.manual_seed(4)
    layer, inputs_nd = Int8Linear(torch.randn(32, 24)), torch.randn(7, 24)
    inputs_nd[3] *= 100
    together_nv = layer(inputs_nd)
    for row in range(7):
        assert torch.equal(layer(inputs_nd[row : row + 1])[0], together_nv[row])


@pytest.mark.parametrize("rows", [1, 2, 17, 64])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_int8_product_of_few_inputs_is_exact_on_the_grid(width: int, rows: int) -> None:
    torch.manual_seed(3)
    weight_vd, inputs_nd = _on_grid(40, width, step=0.5), _on_grid(rows, width, step=0.25)
    assert torch.equal(Int8Linear(weight_vd)(inputs_nd), inputs_nd @ weight_vd.T)


@pytest.mark.skipif(not supports_prepacked_int8(), reason="oneDNN has no exact product here")
def test_prepacked_int8_product_has_the_sums_of_the_other_one() -> None:
    torch.manual_seed(6)
    weight_vd, inputs_nd = _on_grid(2000, 1024), _on_grid(33, 1024)
    inputs_nd[0], weight_vd[0] = INT8_MAX, INT8_MAX  # the largest sum
    scale_v = torch.rand(2000)
    unsigned_nd = (inputs_nd + UINT8_ZERO).to(torch.uint8)
    products = [
        kind(weight_vd.to(torch.int8), scale_v)(unsigned_nd)
        for kind in (PrepackedInt8Product, Int8Product)
    ]
    torch.testing.assert_close(*products, rtol=1e-6, atol=0)


def test_int8_products_that_are_not_exact_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def saturate(self: PrepackedInt8Product, unsigned_nd: Tensor) -> Tensor:
        """Add pairs of products in 16 bits, as a CPU without VNNI does."""
        weight_vd = torch.full((96, 96), INT8_MAX)
        pairs = ((unsigned_nd[:, None].int() - UINT8_ZERO) * weight_vd).view(-1, 96, 48, 2).sum(-1)
        return pairs.clamp(-(2**15), 2**15 - 1).sum(-1).float()

    monkeypatch.setattr(PrepackedInt8Product, "__call__", saturate)
    assert supports_prepacked_int8.__wrapped__() is False
    monkeypatch.setattr(inference_linear, "supports_prepacked_int8", lambda: False)
    assert isinstance(Int8Linear(torch.randn(4, 3)).product, Int8Product)


def test_int8_products_without_code_for_this_cpu_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SlowProduct(Int8Product):
        def __call__(self, inputs_nd: Tensor) -> Tensor:
            time.sleep(0.02)
            return super().__call__(inputs_nd)

    monkeypatch.setattr(inference_linear, "PrepackedInt8Product", SlowProduct)
    assert supports_prepacked_int8.__wrapped__() is False


def test_int8_layer_accepts_inputs_with_more_axes() -> None:
    torch.manual_seed(7)
    layer, inputs_bsd = Int8Linear(torch.randn(20, 12)), torch.randn(3, 12, 5).mT
    found_bsv = layer(inputs_bsd)
    assert torch.equal(found_bsv.flatten(0, 1), layer(inputs_bsd.flatten(0, 1)))


@pytest.mark.usefixtures("elementwise")
def test_int8_product_of_zeros_is_the_bias() -> None:
    bias_v = torch.randn(32)
    assert torch.equal(Int8Linear(torch.zeros(32, 24), bias_v)(torch.zeros(1, 24))[0], bias_v)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [pytest.param(PrepackedLinear, 1e-5, marks=needs_prepacking), (Int8Linear, 2e-2)],
)
def test_split_layer_computes_the_terms_of_the_given_inputs(
    kind: type[Int8Linear], tolerance: float, bias: bool
) -> None:
    torch.manual_seed(1)
    sizes = (8, 16, 24)
    layer = ConcatLinear(sizes, torch.randn(32, 48) / 7, torch.randn(32) if bias else None)
    inputs = [torch.randn(5, size) for size in sizes]
    split = SplitConcatLinear(layer, kind)
    with torch.no_grad():
        for omitted in (set(), {1}, {2}, {1, 2}, *([] if bias else [{0}, {0, 2}])):
            given = [None if i in omitted else x for i, x in enumerate(inputs)]
            torch.testing.assert_close(split(*given), layer(*given), rtol=tolerance, atol=tolerance)
        for index in range(3):
            term = split.term(index, inputs[index].view(1, 5, 1, -1))
            assert term.shape == (1, 5, 1, 32)
            expected_nv = layer.term(index, inputs[index])
            torch.testing.assert_close(
                term.view(5, 32), expected_nv, rtol=tolerance, atol=tolerance
            )


def _layer(kind: type[RecurrentLayer], feedback: int) -> Any:
    """Build a recurrent layer whose weights are on the grid."""
    layer: Any = kind(INPUTS, UNITS, feedback)
    with torch.no_grad():
        for part in (layer.input, layer.recurrent):
            rows = len(part.weight)
            columns = [_on_grid(rows, size, step=0.001) for size in part.sizes]
            part.weight.copy_(torch.cat(columns, dim=1))
        layer.bias.normal_()
    return layer


@pytest.mark.parametrize(
    "linear_kind", [Int8Linear, pytest.param(PrepackedLinear, marks=needs_prepacking)]
)
@pytest.mark.parametrize("kind", [LSTMLayer, GRULayer, NormalizedLSTMLayer])
@pytest.mark.parametrize("feedback", [0, FEEDBACK])
def test_step_of_a_recurrent_layer_with_replaced_products_is_unchanged(
    kind: type[RecurrentLayer], feedback: int, linear_kind: type[nn.Module]
) -> None:
    torch.manual_seed(5)
    layer, replaced = _layer(kind, feedback), kind(INPUTS, UNITS, feedback)
    replaced.load_state_dict(layer.state_dict())
    replace_linear_layers(replaced, linear_kind, None)
    assert isinstance(replaced.recurrent, SplitConcatLinear)
    unit = 1 / INT8_MAX
    inputs_nm, hidden_nd = _on_grid(3, INPUTS, step=unit), _on_grid(3, UNITS, step=unit)
    feedback_nf = _on_grid(3, feedback, step=unit) if feedback else None
    with torch.no_grad():
        found, exact = (
            part.step(part.project(inputs_nm), part.initial_state(hidden_nd), feedback_nf)
            for part in (replaced, layer)
        )
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
    floats = [p for p in replaced.parameters() if p.dim() == 2]
    assert not floats, "the weights in floating point are released"
