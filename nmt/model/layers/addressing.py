"""Where the heads of a Neural Turing Machine stand. Graves et al. 2014, section 3.3.

A head stands on all slots of the memory at once, by weights that sum to one. Tensors carry the
letters i, a slot, and c, a cell of a slot; h is a head.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vecdot
from torch.nn.functional import softplus

SHIFTS = 3
"""A head moves by 1, 0 or -1 slots."""
EPSILON = 1e-16
"""What keeps a slot of zeros, which no key resembles, from a division by zero."""


class Orders(NamedTuple):
    """What the controller tells every head.

    Attributes:
        key_nhc: k, what to look for
        strength_nh1: β > 0, how sharply to look for it
        gate_nh1: g in (0, 1), how far to follow the key rather than stand where it stood
        shift_nh3: s, shares of the moves by 1, 0 and -1
        sharpness_nh1: γ > 1, against the blur of moving
    """

    key_nhc: Float[Tensor, "n h c"]
    strength_nh1: Float[Tensor, "n h 1"]
    gate_nh1: Float[Tensor, "n h 1"]
    shift_nh3: Float[Tensor, "n h 3"]
    sharpness_nh1: Float[Tensor, "n h 1"]

    @staticmethod
    def size(width: int) -> int:
        """Numbers a head needs for its orders, where a slot has `width` cells."""
        return width + 3 + SHIFTS

    @classmethod
    def of(cls, numbers_nhx: Float[Tensor, "n h x"]) -> "Orders":
        """Any numbers, brought into the ranges of the orders."""
        width = numbers_nhx.size(-1) - cls.size(0)
        sizes = (width, 2, 1, SHIFTS)
        key_nhc, scales_nh2, gate_nh1, shift_nh3 = numbers_nhx.split_with_sizes(sizes, dim=-1)
        strength_nh1, blunt_nh1 = softplus(scales_nh2).chunk(2, dim=-1)
        return cls(
            key_nhc, strength_nh1, gate_nh1.sigmoid(), shift_nh3.softmax(dim=-1), 1 + blunt_nh1
        )


def address(
    orders: Orders, memory_nci: Float[Tensor, "n c i"], before_nhi: Float[Tensor, "n h i"]
) -> Float[Tensor, "n h i"]:
    """New weights of every head from the ones before: look, choose, move, sharpen. Figure 2."""
    found_nhi = look_for(orders.key_nhc, orders.strength_nh1, memory_nci)
    chosen_nhi = interpolate(before_nhi, found_nhi, orders.gate_nh1)
    return sharpen(move(chosen_nhi, orders.shift_nh3), orders.sharpness_nh1)


def look_for(
    key_nhc: Float[Tensor, "n h c"],
    strength_nh1: Float[Tensor, "n h 1"],
    memory_nci: Float[Tensor, "n c i"],
) -> Float[Tensor, "n h i"]:
    """softmax(β K[k, M(i)]) with K[u, v] = u·v / √(|u|² |v|² + ε), eqs. 5 and 6."""
    key_squared_nh = vecdot(key_nhc, key_nhc, dim=2)
    memory_squared_ni = vecdot(memory_nci, memory_nci, dim=1)
    squared_nhi = key_squared_nh[:, :, None] * memory_squared_ni[:, None] + EPSILON
    cosine_nhi = key_nhc @ memory_nci * squared_nhi.rsqrt()
    return (strength_nh1 * cosine_nhi).softmax(dim=-1)


def interpolate(
    before_nhi: Float[Tensor, "n h i"],
    found_nhi: Float[Tensor, "n h i"],
    gate_nh1: Float[Tensor, "n h 1"],
) -> Float[Tensor, "n h i"]:
    """g w^c + (1 - g) w_{t-1}, eq. 7."""
    return torch.lerp(before_nhi, found_nhi, gate_nh1)


def move(
    weights_nhi: Float[Tensor, "n h i"], shift_nh3: Float[Tensor, "n h 3"]
) -> Float[Tensor, "n h i"]:
    """w~(i) = Σ_j w(j) s(i - j), indices modulo the number of slots, eq. 8."""
    forth_nh1, stay_nh1, back_nh1 = shift_nh3.split_with_sizes((1, 1, 1), dim=-1)
    moved_nhi = weights_nhi.roll(1, -1) * forth_nh1 + weights_nhi * stay_nh1
    return moved_nhi + weights_nhi.roll(-1, -1) * back_nh1


def sharpen(
    weights_nhi: Float[Tensor, "n h i"], sharpness_nh1: Float[Tensor, "n h 1"]
) -> Float[Tensor, "n h i"]:
    """w(i)^γ / Σ_j w(j)^γ, eq. 9, as softmax(γ log w): w^γ itself can vanish for all slots."""
    least = torch.finfo(weights_nhi.dtype).tiny
    return (sharpness_nh1 * weights_nhi.clamp_min(least).log()).softmax(dim=-1)
