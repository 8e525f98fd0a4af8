"""Weights laid out for oneDNN, against the plain product."""

from typing import Any

import pytest
import torch
from torch.nn.functional import linear

from nmt.model.layers import packed
from nmt.model.layers.gru import GRULayer
from nmt.model.layers.lstm import LSTMLayer
from nmt.model.layers.packed import PackedLinear, packs_products

pytestmark = pytest.mark.skipif(not packs_products(), reason="oneDNN packs nothing here")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 5, 300])
def test_a_product_is_that_of_float32(rows: int, bias: bool) -> None:
    torch.manual_seed(1)
    weight_vd, inputs_nd = torch.randn(80, 96), torch.randn(rows, 96)
    bias_v = torch.randn(80) if bias else None
    exact_nv = linear(
        inputs_nd.double(), weight_vd.double(), bias_v.double() if bias_v is not None else None
    )
    found_nv = PackedLinear(weight_vd, bias_v)(inputs_nd)
    assert found_nv.dtype == torch.float32
    assert (found_nv - exact_nv).norm() < 1e-6 * exact_nv.norm()


def test_a_rows_bits_do_not_depend_on_how_many_there_are() -> None:
    torch.manual_seed(2)
    product, inputs_nd = PackedLinear(torch.randn(512, 256), torch.randn(512)), torch.randn(97, 256)
    whole_nv = product(inputs_nd)
    for rows in (1, 2, 3, 7, 16, 33, 64):
        for start in (0, 5, 97 - rows):
            part_nv = product(inputs_nd[start : start + rows])
            assert torch.equal(part_nv, whole_nv[start : start + rows])


def test_inputs_may_lie_in_any_order_and_have_more_axes() -> None:
    torch.manual_seed(3)
    weight_vd, inputs_bad = torch.randn(48, 32), torch.randn(4, 32, 3)
    inputs_bad = inputs_bad.mT
    found = PackedLinear(weight_vd)(inputs_bad)
    torch.testing.assert_close(found, linear(inputs_bad, weight_vd), rtol=1e-5, atol=1e-5)


def test_one_weight_can_be_packed_and_used_elsewhere() -> None:
    weight_vd = torch.randn(48, 32)
    before = weight_vd.clone()
    PackedLinear(weight_vd)
    assert torch.equal(weight_vd, before)


@pytest.mark.parametrize("fed", [0, 8])
@pytest.mark.parametrize("kind", [LSTMLayer, GRULayer])
def test_a_layers_step_is_what_it_was(kind: Any, fed: int) -> None:
    torch.manual_seed(4)
    layer, other = kind(8, 16, fed), kind(8, 16, fed)
    other.load_state_dict(layer.state_dict())
    for part in (other.input, other.recurrent):
        part.fix(PackedLinear)
    assert other.is_fixed
    inputs_nm, hidden_nd = torch.randn(3, 8), torch.randn(3, 16)
    fed_nf = torch.randn(3, fed) if fed else None
    with torch.no_grad():
        found, exact = (
            part.step(part.project(inputs_nm), part.begin(hidden_nd), fed_nf)
            for part in (other, layer)
        )
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)


def test_where_torch_has_no_such_layout_none_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(packed.PackedLinear, "__init__", fail)
    assert packs_products.__wrapped__() is False
    monkeypatch.undo()
    monkeypatch.setattr(packed.PackedLinear, "forward", lambda self, x: x.bfloat16().float())
    assert packs_products.__wrapped__() is False
