"""Dropout: frequency, scale, gradient and reproducibility."""

import pytest
import torch
from torch.autograd import backward

from nmt.model.layers.dropout import dropout

UNITS = 400_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_expected_value(probability: float, dtype: torch.dtype) -> None:
    """Shares are within 4.5 standard errors, overall and next to a dropped unit."""
    torch.manual_seed(1)
    inputs = torch.full((UNITS // 8, 8), 3.0, dtype=dtype)
    outputs = dropout(inputs, probability)
    assert outputs.dtype == dtype
    dropped = (outputs == 0).flatten()
    error = (probability * (1 - probability) / UNITS) ** 0.5
    assert abs(dropped.double().mean() - probability) < 4.5 * error
    after = dropped[1:][dropped[:-1]].double().mean()
    assert abs(after - probability) < 4.5 * error / probability**0.5
    kept = outputs.flatten()[~dropped].double() * (1 - probability) / 3
    assert (kept - 1).abs().max() < (5e-3 if dtype.itemsize == 2 else 1e-4)


def test_gradient_has_the_mask_of_the_output() -> None:
    inputs = torch.randn(7, 33, requires_grad=True)
    outputs = dropout(inputs, 0.4)
    backward(outputs.sum())
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad * inputs, outputs)
    assert (outputs == 0).any()


@pytest.mark.parametrize("shape", [(), (1,), (3,), (0, 5), (5, 1, 3)])
def test_any_shape_is_accepted(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5).shape == shape


def test_trivial_rates_draw_no_random_numbers() -> None:
    inputs, before = torch.randn(4, 5), torch.get_rng_state()
    assert torch.equal(dropout(inputs, 0.0), inputs)
    assert torch.equal(dropout(inputs, 0.3, training=False), inputs)
    assert torch.equal(torch.get_rng_state(), before)
    assert dropout(inputs, 1.0).count_nonzero() == 0
    assert dropout(inputs, 0.99999999).isfinite().all()


def test_mask_is_reproducible() -> None:
    inputs = torch.randn(100, 7)
    torch.manual_seed(3)
    first = dropout(inputs, 0.5)
    assert not torch.equal(dropout(inputs, 0.5), first)
    torch.manual_seed(3)
    assert torch.equal(dropout(inputs, 0.5), first)
