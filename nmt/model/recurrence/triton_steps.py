"""The parts of a step as Triton kernels, one launch each."""

import torch
import triton
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from nmt.model.recurrence import kernels
from nmt.model.recurrence.buffers import Given
from nmt.model.recurrence.steps import KeySums, Steps

LONGEST = 1024
"""Source positions that a program can hold."""

TILE = 4096
"""Numbers that a program holds at once, about: positions times units of a block."""

WIDEST = 128
"""Units of a block at most."""


class TritonSteps(Steps):
    """Each part as one kernel; in float32 and narrower, on a GPU or in Triton's interpreter."""

    @staticmethod
    def serves(given: Given) -> bool:
        """Whether these tensors are such as the kernels take."""
        interpreted = isinstance(kernels.look, InterpretedFunction)
        there = given.projected_tbg.is_cuda or interpreted
        narrow = given.projected_tbg.dtype != torch.float64
        return there and narrow and given.mask_bs.size(1) <= LONGEST

    def move(
        self, gates_bg: Tensor, before_bd: Tensor, after_bd: Tensor, hidden_bd: Tensor
    ) -> None:
        rows, units = before_bd.shape
        block = _block(units)
        kernels.move[rows, triton.cdiv(units, block)](
            gates_bg, before_bd, after_bd, hidden_bd, hidden_bd.stride(0), units, block
        )

    def move_back(
        self,
        gates_bg: Tensor,
        before_bd: Tensor,
        after_bd: Tensor,
        d_hidden_bd: Tensor,
        d_cell_bd: Tensor,
        d_gates_bg: Tensor,
    ) -> None:
        rows, units = before_bd.shape
        block = _block(units)
        kernels.move_back[rows, triton.cdiv(units, block)](
            gates_bg,
            before_bd,
            after_bd,
            d_hidden_bd,
            d_hidden_bd.stride(0),
            d_cell_bd,
            d_gates_bg,
            units,
            block,
        )

    def look(self, query_ba: Tensor, given: Given, weights_bs: Tensor, context_be: Tensor) -> None:
        kernels.look[(len(query_ba),)](
            query_ba,
            query_ba.stride(0),
            *_source(given),
            weights_bs,
            context_be,
            context_be.stride(0),
            *_sizes(given),
        )

    def look_back(
        self,
        query_ba: Tensor,
        given: Given,
        weights_bs: Tensor,
        d_context_be: Tensor,
        d_energies_bs: Tensor,
        d_query_ba: Tensor,
        sums: KeySums | None,
    ) -> None:
        kernels.look_back[(len(query_ba),)](
            query_ba,
            query_ba.stride(0),
            *_source(given),
            weights_bs,
            d_context_be,
            d_context_be.stride(0),
            d_energies_bs,
            d_query_ba,
            *_sizes(given),
        )

    def keys_back(
        self, query_tba: Tensor, given: Given, d_energies_tbs: Tensor, sums: KeySums
    ) -> None:
        assert given.energy_a is not None
        steps, rows, width = query_tba.shape
        positions, block_s = given.mask_bs.size(1), triton.next_power_of_2(given.mask_bs.size(1))
        block = _block(width, 2 * block_s)  # it holds sums as well
        d_energy_ba = d_energies_tbs.new_empty(rows, width)
        kernels.keys_back[rows, triton.cdiv(width, block)](
            query_tba,
            given.keys_bsa,
            given.energy_a,
            given.mask_bs,
            d_energies_tbs,
            sums.keys_bsa,
            d_energy_ba,
            rows,
            steps,
            positions,
            width,
            block_s,
            block,
        )
        sums.energy_a.add_(d_energy_ba.sum(dim=0))


def _source(given: Given) -> tuple[Tensor, ...]:
    """Keys, v, values and mask; the bilinear form has no v and reads none."""
    energy_a = given.keys_bsa if given.energy_a is None else given.energy_a
    return given.keys_bsa, energy_a, given.values_bse, given.mask_bs


def _sizes(given: Given) -> tuple[int | bool, ...]:
    """What the kernels of attention are compiled for, behind the number of positions."""
    positions, width, value_width = *given.keys_bsa.shape[1:], given.values_bse.size(2)
    block_s = triton.next_power_of_2(positions)
    block = _block(max(width, value_width), block_s)
    return positions, width, value_width, given.energy_a is not None, block_s, block


def _block(width: int, rows: int = 1) -> int:
    """Units of a block, a power of two."""
    return min(WIDEST, triton.next_power_of_2(width), max(8, TILE // rows))
