"""A linear layer of inputs side by side: its terms are those of the whole."""

import pytest
import torch
from torch import Tensor

from nmt.model.layers.int8 import Int8Linear
from nmt.model.layers.linear import ConcatLinear
from nmt.model.layers.packed import PackedLinear, packs_products

SIZES, UNITS = (8, 16, 24), 32
PACKS = pytest.mark.skipif(not packs_products(), reason="oneDNN packs nothing here")


def _layer(*, bias: bool) -> tuple[ConcatLinear, list[Tensor], Tensor]:
    """A layer, inputs, and the terms in float64; the last one is b, or nothing."""
    torch.manual_seed(1)
    layer = ConcatLinear.like_torchs(SIZES, UNITS, bias=bias)
    inputs = [torch.randn(5, size) for size in SIZES]
    weights = torch.split(layer.weight.detach().double(), list(SIZES), dim=1)
    terms = [part.double() @ weight.T for part, weight in zip(inputs, weights, strict=True)]
    constant = torch.zeros(5, UNITS, dtype=torch.float64)
    if layer.bias is not None:
        constant = layer.bias.detach().double().expand(5, -1)
    return layer, inputs, torch.stack([*terms, constant])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("product", "tolerance"),
    [(None, 1e-5), pytest.param(PackedLinear, 1e-5, marks=PACKS), (Int8Linear, 2e-2)],
)
def test_inputs_left_out_leave_their_terms_out(
    product: type[Int8Linear] | None, tolerance: float, bias: bool
) -> None:
    layer, inputs, terms = _layer(bias=bias)
    if product is not None:
        layer.fix(product)
        assert layer.is_fixed and not list(layer.parameters())
    with torch.no_grad():
        for left_out in (set(), {1}, {2}, {1, 2}, *([] if bias else [{0}, {0, 2}])):
            given = [None if i in left_out else part for i, part in enumerate(inputs)]
            expected = sum(term for i, term in enumerate(terms) if i not in left_out)
            found = layer(*given).double()
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
        alone = layer.term(2, inputs[2].view(1, 5, 1, -1))
        assert alone.shape == (1, 5, 1, UNITS)
        found = alone.view(5, UNITS).double()
        torch.testing.assert_close(found, terms[2], rtol=tolerance, atol=tolerance)


def test_an_input_that_is_never_given_has_no_columns() -> None:
    layer = ConcatLinear((4, 0), torch.randn(3, 4))
    inputs_nx = torch.randn(2, 4)
    torch.testing.assert_close(layer(inputs_nx, None), inputs_nx @ layer.weight.T)


def test_it_begins_as_torchs_does() -> None:
    torch.manual_seed(2)
    ours = ConcatLinear.like_torchs(SIZES, UNITS)
    torch.manual_seed(2)
    theirs = torch.nn.Linear(sum(SIZES), UNITS)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
