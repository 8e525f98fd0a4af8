"""Gradient of an embedding table as a Triton kernel.

A program computes a block of units of one token's vector. It adds up the gradients of the token's
positions in their order and in float32, so results are reproducible bit for bit.
"""

# Triton compiles the source text and has its own annotations, so shapes are not checked in tests.
from typing import no_type_check

import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from nmt.data.batch import TokenGroups
from nmt.kernels import launch

MAX_BLOCK = 128
"""Largest number of units in a block."""

MAX_ROWS = 32
"""Number of positions that a program reads at once; most tokens have fewer in a batch."""


def table_gradient(
    d_embedded_nm: Float[Tensor, "n m"],
    tokens_n: Int[Tensor, " n"],
    groups: TokenGroups,
    vocabulary: int,
) -> Float[Tensor, "v m"]:
    """Compute the gradient of an embedding table.

    Args:
        d_embedded_nm: gradient of the vector at each position
        tokens_n: token at each position
        groups: groups of the tokens
        vocabulary: number of rows of the table
    """
    positions, width = d_embedded_nm.shape
    d_table_vm = d_embedded_nm.new_zeros(vocabulary, width)
    block = min(MAX_BLOCK, triton.next_power_of_2(width))
    # As many programs as there can be groups; the number of groups is known to the CPU alone.
    launch(
        _sum_group_kernel,
        (positions, triton.cdiv(width, block)),
        d_embedded_nm.contiguous(),
        tokens_n,
        *groups,
        d_table_vm,
        width,
        MAX_ROWS,
        block,
    )
    return d_table_vm


@triton.jit
@no_type_check
def _sum_group_kernel(
    d_embedded,
    tokens,
    order,
    starts,
    d_table,
    width: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
):
    """Sum the gradients of one token's positions; an empty group has no token."""
    group = tl.program_id(0)
    unit = tl.program_id(1) * block + tl.arange(0, block)
    inside = unit < width
    start = tl.load(starts + group)
    end = tl.load(starts + group + 1)
    if start < end:
        token = tl.load(tokens + tl.load(order + start))
        total = tl.zeros([block], tl.float32)
        while start < end:
            entry = start + tl.arange(0, rows)
            real = entry < end
            row = tl.load(order + entry, mask=real, other=0).to(tl.int64)
            pointer = d_embedded + row[:, None] * width + unit[None, :]
            gradient = tl.load(pointer, mask=real[:, None] & inside[None, :], other=0.0)
            total += tl.sum(gradient.to(tl.float32), 0)
            start += rows
        tl.store(d_table + token * width + unit, total.to(d_table.dtype.element_ty), mask=inside)
