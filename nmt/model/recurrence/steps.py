"""The parts of a step that are no plain products, there and back, in torch's operations.

All write into tensors that are handed in, and leave the rest as it is.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.model.recurrence.buffers import Given


class KeySums(NamedTuple):
    """Gradients of the additive form that sum up along the way back, in float32 at least.

    Attributes:
        keys_bsa: of the keys
        energy_a: of v
    """

    keys_bsa: Float[Tensor, "b s a"]
    energy_a: Float[Tensor, " a"]


class Steps(ABC):
    """What a loop is made of, beside products of matrices."""

    @abstractmethod
    def move(
        self,
        gates_bg: Float[Tensor, "b g"],
        before_bd: Float[Tensor, "b d"],
        after_bd: Float[Tensor, "b d"],
        hidden_bd: Float[Tensor, "b d"],
    ) -> None:
        """An LSTM's step: sums become gates in their place, and the cell and h_t are written."""

    @abstractmethod
    def move_back(
        self,
        gates_bg: Float[Tensor, "b g"],
        before_bd: Float[Tensor, "b d"],
        after_bd: Float[Tensor, "b d"],
        d_hidden_bd: Float[Tensor, "b d"],
        d_cell_bd: Float[Tensor, "b d"],
        d_gates_bg: Float[Tensor, "b g"],
    ) -> None:
        """From h_t's gradient to that of the gates' sums; the cell's becomes that of c_{t-1}."""

    @abstractmethod
    def look(
        self,
        query_ba: Float[Tensor, "b a"],
        given: Given,
        weights_bs: Float[Tensor, "b s"],
        context_be: Float[Tensor, "b e"],
    ) -> None:
        """Where a query looks, and what it reads."""

    @abstractmethod
    def look_back(
        self,
        query_ba: Float[Tensor, "b a"],
        given: Given,
        weights_bs: Float[Tensor, "b s"],
        d_context_be: Float[Tensor, "b e"],
        d_energies_bs: Float[Tensor, "b s"],
        d_query_ba: Float[Tensor, "b a"],
        sums: KeySums | None,
    ) -> None:
        """From the context's gradient to those of the energies and the query.

        May add this step's part to the sums; which there are in the additive form.
        """

    @abstractmethod
    def keys_back(
        self,
        query_tba: Float[Tensor, "t b a"],
        given: Given,
        d_energies_tbs: Float[Tensor, "t b s"],
        sums: KeySums,
    ) -> None:
        """Complete the sums when the way back is over."""


class TorchSteps(Steps):
    """Each part in a few of torch's operations; on any device and in any type."""

    def move(
        self, gates_bg: Tensor, before_bd: Tensor, after_bd: Tensor, hidden_bd: Tensor
    ) -> None:
        input_bd, forget_bd, new_bd, output_bd = gates_bg.chunk(4, dim=1)
        for gate_bd in (input_bd, forget_bd, output_bd):
            gate_bd.sigmoid_()
        new_bd.tanh_()
        torch.mul(before_bd, forget_bd, out=after_bd)
        after_bd.addcmul_(input_bd.to(after_bd.dtype), new_bd.to(after_bd.dtype))
        hidden_bd.copy_(output_bd * after_bd.tanh())

    def move_back(
        self,
        gates_bg: Tensor,
        before_bd: Tensor,
        after_bd: Tensor,
        d_hidden_bd: Tensor,
        d_cell_bd: Tensor,
        d_gates_bg: Tensor,
    ) -> None:
        gates_bg, d_hidden_bd = gates_bg.to(d_cell_bd.dtype), d_hidden_bd.to(d_cell_bd.dtype)
        input_bd, forget_bd, new_bd, output_bd = gates_bg.chunk(4, dim=1)
        shown_bd = after_bd.tanh()
        d_cell_bd.addcmul_(d_hidden_bd * output_bd, 1 - shown_bd.square())
        d_sums = (
            d_cell_bd * new_bd * input_bd * (1 - input_bd),
            d_cell_bd * before_bd * forget_bd * (1 - forget_bd),
            d_cell_bd * input_bd * (1 - new_bd.square()),
            d_hidden_bd * shown_bd * output_bd * (1 - output_bd),
        )
        for d_gate_bd, d_sum_bd in zip(d_gates_bg.chunk(4, dim=1), d_sums, strict=True):
            d_gate_bd.copy_(d_sum_bd)
        d_cell_bd.mul_(forget_bd)

    def look(self, query_ba: Tensor, given: Given, weights_bs: Tensor, context_be: Tensor) -> None:
        if given.energy_a is None:
            energies_bs = _times(given.keys_bsa, query_ba)
        else:
            energies_bs = _hidden(query_ba, given.keys_bsa) @ given.energy_a
        energies_bs = energies_bs.masked_fill(~given.mask_bs, float("-inf"))
        torch.softmax(energies_bs, dim=-1, dtype=weights_bs.dtype, out=weights_bs)
        context_be.copy_(_times(given.values_bse.mT, weights_bs.to(query_ba.dtype)))

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
        d_weights_bs = _times(given.values_bse, d_context_be)
        mean_b1 = (weights_bs * d_weights_bs).sum(dim=-1, keepdim=True)
        torch.mul(weights_bs, d_weights_bs - mean_b1, out=d_energies_bs)
        narrow_bs = d_energies_bs.to(query_ba.dtype)
        if given.energy_a is None:
            d_query_ba.copy_(_times(given.keys_bsa.mT, narrow_bs))
            return
        assert sums is not None
        # Tanh is taken again: kept for all steps, it is the largest tensor of all by far.
        hidden_bsa = _hidden(query_ba, given.keys_bsa).to(sums.keys_bsa.dtype)
        sums.energy_a.addmv_(hidden_bsa.flatten(0, 1).mT, d_energies_bs.flatten())
        slope_bsa = torch.addcmul(hidden_bsa.new_ones(()), hidden_bsa, hidden_bsa, value=-1)
        sums.keys_bsa.add_(slope_bsa.mul_(d_energies_bs[:, :, None]))
        torch.mul(slope_bsa.sum(dim=1), given.energy_a, out=d_query_ba)

    def keys_back(
        self, query_tba: Tensor, given: Given, d_energies_tbs: Tensor, sums: KeySums
    ) -> None:
        assert given.energy_a is not None
        sums.keys_bsa.mul_(given.energy_a)


def _hidden(query_ba: Float[Tensor, "b a"], keys_bsa: Float[Tensor, "b s a"]) -> Tensor:
    """tanh(q + k) of every source position."""
    return (query_ba[:, None] + keys_bsa).tanh_()


def _times(matrix_byx: Float[Tensor, "b y x"], vector_bx: Float[Tensor, "b x"]) -> Tensor:
    """Each sentence's matrix times its vector."""
    return torch.bmm(matrix_byx, vector_bx[:, :, None])[:, :, 0]
