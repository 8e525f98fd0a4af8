"""Addressing against Graves et al. 2014, section 3.3, in NumPy, one head and slot at a time."""

import numpy as np
import torch
from torch import Tensor

from nmt.model.layers.ntm import (
    EPSILON,
    Addressing,
    address,
    content_weights,
    interpolate,
    sharpen,
    shift,
)
from tests.model.numpy_formulas import Array, array, sigmoid, softmax

ROWS, HEADS, CELLS, SLOTS = 2, 3, 4, 5


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _weights() -> Tensor:
    return _random(ROWS, HEADS, SLOTS).softmax(dim=-1)


def _close(found: Tensor, expected: Array) -> None:
    np.testing.assert_allclose(array(found), expected, rtol=1e-12)


def _by_content(key: Array, strength: float, memory: Array) -> Array:
    lengths = np.sqrt((key**2).sum() * (memory**2).sum(axis=0) + EPSILON)
    return softmax(strength * (key @ memory) / lengths)


def _by_moving(weights: Array, shift: Array) -> Array:
    moved = np.zeros(SLOTS)
    for slot in range(SLOTS):
        for by, share in zip((1, 0, -1), shift, strict=True):
            moved[(slot + by) % SLOTS] += share * weights[slot]
    return moved


def test_content_weights_are_a_softmax_of_cosines() -> None:
    torch.manual_seed(1)
    key, strength, memory = (
        _random(ROWS, HEADS, CELLS),
        _random(ROWS, HEADS, 1).exp(),
        _random(ROWS, CELLS, SLOTS),
    )
    expected = [
        [
            _by_content(array(key)[n, h], array(strength)[n, h, 0], array(memory)[n])
            for h in (0, 1, 2)
        ]
        for n in range(ROWS)
    ]
    _close(content_weights(key, strength, memory), np.array(expected))


def test_content_weights_ignore_the_length_of_the_key() -> None:
    memory_nui = torch.eye(CELLS, dtype=torch.float64)[None]
    key_nhu = 7 * memory_nui[:, 2:3]
    weights_nhi = content_weights(
        key_nhu, torch.full((1, 1, 1), 50.0, dtype=torch.float64), memory_nui
    )
    assert weights_nhi[0, 0, 2] > 1 - 1e-12


def test_interpolation_equals_eq_7() -> None:
    torch.manual_seed(2)
    before, found, gate = _weights(), _weights(), _random(ROWS, HEADS, 1).sigmoid()
    _close(
        interpolate(before, found, gate),
        array(gate) * array(found) + (1 - array(gate)) * array(before),
    )


def test_shift_is_a_circular_convolution() -> None:
    torch.manual_seed(3)
    weights, shifts = _weights(), _random(ROWS, HEADS, 3).softmax(dim=-1)
    expected = [
        [_by_moving(array(weights)[n, h], array(shifts)[n, h]) for h in range(HEADS)]
        for n in range(ROWS)
    ]
    _close(shift(weights, shifts), np.array(expected))


def test_shift_by_one_wraps_around() -> None:
    weights_nhi = torch.tensor([[[0.0, 0.0, 0.25, 0.0, 0.75]]])
    by_one = torch.tensor([[[1.0, 0.0, 0.0]]])
    assert shift(weights_nhi, by_one).tolist() == [[[0.75, 0.0, 0.0, 0.25, 0.0]]]
    assert shift(weights_nhi, by_one.flip(-1)).tolist() == [[[0.0, 0.25, 0.0, 0.75, 0.0]]]


def test_sharpening_equals_eq_9() -> None:
    torch.manual_seed(4)
    weights, sharpness = _weights(), 1 + _random(ROWS, HEADS, 1).exp()
    powers = array(weights) ** array(sharpness)
    _close(sharpen(weights, sharpness), powers / powers.sum(axis=-1, keepdims=True))


def test_sharpening_does_not_underflow() -> None:
    """In float32 (1/128)^30 is 0 for all slots, and so is a slot of weight zero."""
    even_nhi = torch.full((1, 1, 128), 1 / 128)
    sharpness_nh1 = torch.tensor([[[30.0]]])
    torch.testing.assert_close(sharpen(even_nhi, sharpness_nh1), even_nhi)
    one_nhi = torch.tensor([[[0.0, 1.0, 0.0]]], requires_grad=True)
    sharp_nhi = sharpen(one_nhi, sharpness_nh1)
    assert sharp_nhi.tolist() == one_nhi.tolist()
    (slope_nhi,) = torch.autograd.grad(sharp_nhi[0, 0, 1], one_nhi)
    assert slope_nhi.isfinite().all()


def test_addressing_parameters_are_mapped_into_their_ranges() -> None:
    torch.manual_seed(5)
    numbers_nhx = 3 * _random(ROWS, HEADS, Addressing.size(CELLS))
    orders, given = Addressing.of(numbers_nhx), array(numbers_nhx)
    _close(orders.key_nhu, given[..., :CELLS])
    _close(orders.strength_nh1, np.log1p(np.exp(given[..., CELLS : CELLS + 1])))
    _close(orders.sharpness_nh1, 1 + np.log1p(np.exp(given[..., CELLS + 1 : CELLS + 2])))
    _close(orders.gate_nh1, sigmoid(given[..., CELLS + 2 : CELLS + 3]))
    shares = np.exp(given[..., CELLS + 3 :])
    _close(orders.shift_nh3, shares / shares.sum(axis=-1, keepdims=True))


def test_addressing_applies_the_four_stages_in_order() -> None:
    torch.manual_seed(6)
    orders = Addressing.of(_random(ROWS, HEADS, Addressing.size(CELLS)))
    memory_nui, before_nhi = _random(ROWS, CELLS, SLOTS), _weights()
    found_nhi = address(orders, memory_nui, before_nhi)
    key, strength, gate, shift, sharpness = map(array, orders)
    for n in range(ROWS):
        for h in range(HEADS):
            found = _by_content(key[n, h], strength[n, h, 0], array(memory_nui)[n])
            chosen = gate[n, h] * found + (1 - gate[n, h]) * array(before_nhi)[n, h]
            power = _by_moving(chosen, shift[n, h]) ** sharpness[n, h]
            np.testing.assert_allclose(array(found_nhi)[n, h], power / power.sum(), rtol=1e-12)


def test_addressing_gradients() -> None:
    torch.manual_seed(7)
    inputs = _random(1, 2, Addressing.size(3)), _random(1, 3, SLOTS), _random(1, 2, SLOTS)

    def weights(numbers: Tensor, memory: Tensor, energies: Tensor) -> Tensor:
        return address(Addressing.of(numbers), memory, energies.softmax(dim=-1))

    assert torch.autograd.gradcheck(weights, tuple(given.requires_grad_() for given in inputs))
