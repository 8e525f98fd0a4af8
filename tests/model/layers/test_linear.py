"""Layers over concatenated inputs: the terms add up to the whole."""

import pytest
import torch
from torch import Tensor

from nmt.model.layers.linear import ConcatLinear

SIZES, UNITS = (8, 16, 24), 32


def _layer(*, bias: bool) -> tuple[ConcatLinear, list[Tensor], Tensor]:
    """Build a layer, inputs, and the terms in float64; the last one is b, or zero."""
    torch.manual_seed(1)
    layer = ConcatLinear.with_default_init(SIZES, UNITS, bias=bias)
    inputs = [torch.randn(5, size) for size in SIZES]
    weights = torch.split(layer.weight.detach().double(), list(SIZES), dim=1)
    terms = [x.double() @ weight.T for x, weight in zip(inputs, weights, strict=True)]
    constant = torch.zeros(5, UNITS, dtype=torch.float64)
    if layer.bias is not None:
        constant = layer.bias.detach().double().expand(5, -1)
    return layer, inputs, torch.stack([*terms, constant])


@pytest.mark.parametrize("bias", [True, False])
def test_omitted_inputs_omit_their_terms(bias: bool) -> None:
    layer, inputs, terms = _layer(bias=bias)
    with torch.no_grad():
        for omitted in (set(), {1}, {2}, {1, 2}, *([] if bias else [{0}, {0, 2}])):
            given = [None if i in omitted else x for i, x in enumerate(inputs)]
            expected = sum(term for i, term in enumerate(terms) if i not in omitted)
            torch.testing.assert_close(layer(*given).double(), expected, rtol=1e-5, atol=1e-5)
        term = layer.term(2, inputs[2].view(1, 5, 1, -1))
        assert term.shape == (1, 5, 1, UNITS)
        torch.testing.assert_close(term.view(5, UNITS).double(), terms[2], rtol=1e-5, atol=1e-5)


def test_input_of_width_zero_has_no_columns() -> None:
    layer = ConcatLinear((4, 0), torch.randn(3, 4))
    inputs_nx = torch.randn(2, 4)
    torch.testing.assert_close(layer(inputs_nx, None), inputs_nx @ layer.weight.T)


def test_initialization_can_be_that_of_torch() -> None:
    torch.manual_seed(2)
    ours = ConcatLinear.with_default_init(SIZES, UNITS)
    torch.manual_seed(2)
    theirs = torch.nn.Linear(sum(SIZES), UNITS)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
