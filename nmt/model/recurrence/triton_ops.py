"""Operations of one step of the recurrence as Triton kernels, one launch each.

The formulas are those of `TorchCellOps`.
"""

import torch
import triton
from torch import Tensor

from nmt.kernels import launch
from nmt.model.recurrence.torch_ops import AdditiveGradients, AttendedSource, CellOps
from nmt.model.recurrence.triton_kernels import (
    attend_backward_kernel,
    attend_kernel,
    finish_additive_kernel,
    lstm_backward_kernel,
    lstm_kernel,
)

MAX_SOURCE_LENGTH = 1024
"""Largest number of source positions; a program holds one number for each of them."""

MAX_TILE = 4096
"""Approximate number of elements that a program holds at once: source positions times units."""

MAX_BLOCK = 128
"""Largest number of units in a block."""

MIN_BLOCK = 8
"""Smallest number of units in a block, for any number of source positions."""

ATTENTION_WARPS = 8
"""Number of warps, of 32 threads each, that share a tile. A GPU may have no more programs than
multiprocessors, as many as sentences, so a program should use all the parts of one."""


class TritonCellOps(CellOps):
    """Triton kernels for float32 and narrower, on a GPU or in Triton's interpreter."""

    @staticmethod
    def supports(source: AttendedSource) -> bool:
        """Return whether the kernels support dtype, lengths and heads of these tensors."""
        # The kernels compute in float32, which would round float64.
        narrow = source.keys_bsa.dtype != torch.float64
        # They read one v for all rows, and not one per head.
        shares_v = source.v_a is None or source.v_a.dim() == 1
        return narrow and shares_v and source.mask_bs.size(1) <= MAX_SOURCE_LENGTH

    def lstm(
        self, gates_bg: Tensor, previous_cell_bd: Tensor, cell_bd: Tensor, hidden_bd: Tensor
    ) -> None:
        sentences, units = cell_bd.shape
        block = _block_size(units)
        launch(
            lstm_kernel,
            (sentences, triton.cdiv(units, block)),
            gates_bg,
            previous_cell_bd,
            cell_bd,
            hidden_bd,
            hidden_bd.stride(0),
            units,
            block,
        )

    def lstm_backward(
        self,
        gates_bg: Tensor,
        previous_cell_bd: Tensor,
        cell_bd: Tensor,
        d_hidden_bd: Tensor,
        d_cell_bd: Tensor,
        d_gates_bg: Tensor,
    ) -> None:
        sentences, units = cell_bd.shape
        block = _block_size(units)
        launch(
            lstm_backward_kernel,
            (sentences, triton.cdiv(units, block)),
            gates_bg,
            previous_cell_bd,
            cell_bd,
            d_hidden_bd,
            d_hidden_bd.stride(0),
            d_cell_bd,
            d_gates_bg,
            units,
            block,
        )

    def attend(
        self, query_ba: Tensor, source: AttendedSource, weights_bs: Tensor, context_be: Tensor
    ) -> None:
        # One program per sentence: softmax needs all positions.
        launch(
            attend_kernel,
            (len(query_ba),),
            query_ba,
            query_ba.stride(0),
            *_pointers(source),
            weights_bs,
            context_be,
            context_be.stride(0),
            *_sizes(source),
            num_warps=ATTENTION_WARPS,
        )

    def attend_backward(
        self,
        query_ba: Tensor,
        source: AttendedSource,
        weights_bs: Tensor,
        d_context_be: Tensor,
        d_weights_bs: Tensor | None,
        d_energies_bs: Tensor,
        d_query_ba: Tensor,
        additive: AdditiveGradients | None,
    ) -> None:
        launch(
            attend_backward_kernel,
            (len(query_ba),),
            query_ba,
            query_ba.stride(0),
            *_pointers(source),
            weights_bs,
            d_context_be,
            d_context_be.stride(0),
            # Without such a gradient, any address: it is not read.
            weights_bs if d_weights_bs is None else d_weights_bs,
            d_energies_bs,
            d_query_ba,
            *_sizes(source),
            d_weights_bs is not None,
            num_warps=ATTENTION_WARPS,
        )

    def finish_additive(
        self,
        query_tba: Tensor,
        source: AttendedSource,
        d_energies_tbs: Tensor,
        additive: AdditiveGradients,
    ) -> None:
        assert source.v_a is not None
        steps, sentences, units = query_tba.shape
        positions = source.mask_bs.size(1)
        position_block = triton.next_power_of_2(positions)
        # The program holds keys and their gradients: twice the tile of the other kernels.
        block = _block_size(units, 2 * position_block)
        d_v_ba = d_energies_tbs.new_empty(sentences, units)
        launch(
            finish_additive_kernel,
            (sentences, triton.cdiv(units, block)),
            query_tba,
            source.keys_bsa,
            source.v_a,
            source.mask_bs,
            d_energies_tbs,
            additive.keys_bsa,
            d_v_ba,
            sentences,
            steps,
            positions,
            units,
            position_block,
            block,
            num_warps=ATTENTION_WARPS,
        )
        # Summed over the sentences here: atomic additions in the kernel would have no fixed order.
        additive.v_a.add_(d_v_ba.sum(dim=0))


def _pointers(source: AttendedSource) -> tuple[Tensor, ...]:
    """Return keys, v, values and mask; the bilinear form does not read v."""
    v_a = source.keys_bsa if source.v_a is None else source.v_a
    return source.keys_bsa, v_a, source.values_bse, source.mask_bs


def _sizes(source: AttendedSource) -> tuple[int | bool, ...]:
    """Return the arguments of the attention kernels from `positions` on."""
    _, positions, key_units = source.keys_bsa.shape
    value_units = source.values_bse.size(2)
    position_block = triton.next_power_of_2(positions)
    block = _block_size(max(key_units, value_units), position_block)
    return positions, key_units, value_units, source.v_a is not None, position_block, block


def _block_size(units: int, positions: int = 1) -> int:
    """Return the number of units in a block, a power of two."""
    # A tile of positions times units is held in registers, which bounds its size.
    return min(MAX_BLOCK, triton.next_power_of_2(units), max(MIN_BLOCK, MAX_TILE // positions))
