"""Operations of one step of the recurrence, forward and backward, in torch.

The matrix products of a step are in `loop.py`. The operations here are the rest of the step: the
LSTM cell and attention. They write their results into preallocated tensors.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class AttendedSource(NamedTuple):
    """Source positions that each step attends to; with several heads, a row for each of them.

    Attributes:
        keys_bsa: keys
        values_bse: vectors whose weighted sum is the context
        mask_bs: True for real source positions
        v_a: v of the additive form, [b a] with several heads; None in the bilinear form
    """

    keys_bsa: Float[Tensor, "b s a"]
    values_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]
    v_a: Float[Tensor, "*b a"] | None


class AdditiveGradients(NamedTuple):
    """Gradients of the additive form that are sums over all steps, in float32 or float64.

    Attributes:
        keys_bsa: gradient of the keys
        v_a: gradient of v
    """

    keys_bsa: Float[Tensor, "b s a"]
    v_a: Float[Tensor, "*b a"]


class CellOps(ABC):
    """Operations of one step besides matrix products.

    Arguments named `d_x` are gradients of the loss with respect to x.
    """

    @abstractmethod
    def lstm(
        self,
        gates_bg: Float[Tensor, "b g"],
        previous_cell_bd: Float[Tensor, "b d"],
        cell_bd: Float[Tensor, "b d"],
        hidden_bd: Float[Tensor, "b d"],
    ) -> None:
        """Compute an LSTM cell: c = σ(f) c' + σ(i) tanh(g) and h = σ(o) tanh(c).

        Args:
            gates_bg: pre-activations of the gates i, f, g, o; overwritten by the activations
            previous_cell_bd: c'
            cell_bd: output c
            hidden_bd: output h
        """

    @abstractmethod
    def lstm_backward(
        self,
        gates_bg: Float[Tensor, "b g"],
        previous_cell_bd: Float[Tensor, "b d"],
        cell_bd: Float[Tensor, "b d"],
        d_hidden_bd: Float[Tensor, "b d"],
        d_cell_bd: Float[Tensor, "b d"],
        d_gates_bg: Float[Tensor, "b g"],
    ) -> None:
        """Compute the gradients of an LSTM cell.

        Args:
            gates_bg: activations of the gates
            previous_cell_bd: c'
            cell_bd: c
            d_hidden_bd: gradient of h
            d_cell_bd: gradient of c from the next step; overwritten by the gradient of c'
            d_gates_bg: output, gradient of the pre-activations
        """

    @abstractmethod
    def attend(
        self,
        query_ba: Float[Tensor, "b a"],
        source: AttendedSource,
        weights_bs: Float[Tensor, "b s"],
        context_be: Float[Tensor, "b e"],
    ) -> None:
        """Compute attention: α = softmax(energies), zero in the padding, and c = Σ α_s h_s.

        Args:
            query_ba: q, projected
            source: keys and values; the energies are q·k_s or v·tanh(q + k_s)
            weights_bs: output α
            context_be: output c
        """

    @abstractmethod
    def attend_backward(
        self,
        query_ba: Float[Tensor, "b a"],
        source: AttendedSource,
        weights_bs: Float[Tensor, "b s"],
        d_context_be: Float[Tensor, "b e"],
        d_weights_bs: Float[Tensor, "b s"] | None,
        d_energies_bs: Float[Tensor, "b s"],
        d_query_ba: Float[Tensor, "b a"],
        additive: AdditiveGradients | None,
    ) -> None:
        """Compute the gradients of attention.

        Args:
            query_ba: q
            source: keys and values
            weights_bs: α
            d_context_be: gradient of c
            d_weights_bs: gradient of α apart from that by way of c; None for zero
            d_energies_bs: output, gradient of the energies
            d_query_ba: output, gradient of q
            additive: sums over the steps, to which this step may be added; see `finish_additive`
        """

    @abstractmethod
    def finish_additive(
        self,
        query_tba: Float[Tensor, "t b a"],
        source: AttendedSource,
        d_energies_tbs: Float[Tensor, "t b s"],
        additive: AdditiveGradients,
    ) -> None:
        """Finish the gradients of keys and v after the last step of the backward pass."""


class TorchCellOps(CellOps):
    """Operations in torch, on any device and in any dtype."""

    def lstm(
        self, gates_bg: Tensor, previous_cell_bd: Tensor, cell_bd: Tensor, hidden_bd: Tensor
    ) -> None:
        # Views: the activations replace the pre-activations in the saved tensor.
        i_bd, f_bd, g_bd, o_bd = gates_bg.chunk(4, dim=1)
        for gate_bd in (i_bd, f_bd, o_bd):
            gate_bd.sigmoid_()
        g_bd.tanh_()
        # The cell is a sum over all steps, so it is in float32 at least.
        torch.mul(previous_cell_bd, f_bd, out=cell_bd)
        cell_bd.addcmul_(i_bd.to(cell_bd.dtype), g_bd.to(cell_bd.dtype))
        hidden_bd.copy_(o_bd * cell_bd.tanh())

    def lstm_backward(
        self,
        gates_bg: Tensor,
        previous_cell_bd: Tensor,
        cell_bd: Tensor,
        d_hidden_bd: Tensor,
        d_cell_bd: Tensor,
        d_gates_bg: Tensor,
    ) -> None:
        # The gradient of the cell is a sum over all later steps, so it is not rounded to half
        # precision.
        gates_bg, d_hidden_bd = gates_bg.to(d_cell_bd.dtype), d_hidden_bd.to(d_cell_bd.dtype)
        i_bd, f_bd, g_bd, o_bd = gates_bg.chunk(4, dim=1)
        tanh_bd = cell_bd.tanh()
        # ∂h/∂c = o (1 - tanh² c); σ' = σ (1 - σ) and tanh' = 1 - tanh².
        d_cell_bd.addcmul_(d_hidden_bd * o_bd, 1 - tanh_bd.square())
        d_preactivations = (
            d_cell_bd * g_bd * i_bd * (1 - i_bd),
            d_cell_bd * previous_cell_bd * f_bd * (1 - f_bd),
            d_cell_bd * i_bd * (1 - g_bd.square()),
            d_hidden_bd * tanh_bd * o_bd * (1 - o_bd),
        )
        for d_gate_bd, d_value_bd in zip(d_gates_bg.chunk(4, dim=1), d_preactivations, strict=True):
            d_gate_bd.copy_(d_value_bd)
        d_cell_bd.mul_(f_bd)  # ∂c/∂c' = f

    def attend(
        self, query_ba: Tensor, source: AttendedSource, weights_bs: Tensor, context_be: Tensor
    ) -> None:
        if source.v_a is None:
            energies_bs = _batched_product(source.keys_bsa, query_ba)
        else:
            tanh_bsa = _tanh_sum(query_ba, source.keys_bsa)
            has_heads = source.v_a.dim() > 1
            energies_bs = (
                _batched_product(tanh_bsa, source.v_a) if has_heads else tanh_bsa @ source.v_a
            )
        # Every sentence has a real position: no row of the softmax is empty, which would be NaN.
        energies_bs = energies_bs.masked_fill(~source.mask_bs, float("-inf"))
        torch.softmax(energies_bs, dim=-1, dtype=weights_bs.dtype, out=weights_bs)
        context_be.copy_(_batched_product(source.values_bse.mT, weights_bs.to(query_ba.dtype)))

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
        total_bs = _batched_product(source.values_bse, d_context_be)
        if d_weights_bs is not None:
            total_bs = total_bs + d_weights_bs
        # Softmax: ∂e_s = α_s (∂α_s - Σ_r α_r ∂α_r).
        mean_b1 = (weights_bs * total_bs).sum(dim=-1, keepdim=True)
        torch.mul(weights_bs, total_bs - mean_b1, out=d_energies_bs)
        if source.v_a is None:
            # The gradient of the keys is one product over all steps, after the loop.
            narrow_bs = d_energies_bs.to(query_ba.dtype)
            d_query_ba.copy_(_batched_product(source.keys_bsa.mT, narrow_bs))
            return
        assert additive is not None
        # tanh(q + k) is recomputed: saved for all steps, it would be by far the largest tensor.
        tanh_bsa = _tanh_sum(query_ba, source.keys_bsa).to(additive.keys_bsa.dtype)
        # e_s = v·tanh(q + k_s): ∂v = Σ_s tanh ∂e_s, ∂k_s = v (1 - tanh²) ∂e_s and ∂q = Σ_s ∂k_s.
        if source.v_a.dim() > 1:
            additive.v_a.add_(_batched_product(tanh_bsa.mT, d_energies_bs))
        else:
            additive.v_a.addmv_(tanh_bsa.flatten(0, 1).mT, d_energies_bs.flatten())
        slope_bsa = torch.addcmul(tanh_bsa.new_ones(()), tanh_bsa, tanh_bsa, value=-1)
        additive.keys_bsa.add_(slope_bsa.mul_(d_energies_bs[:, :, None]))
        # All steps share the factor v of ∂k_s: `finish_additive` multiplies the sums by it once.
        torch.mul(slope_bsa.sum(dim=1), source.v_a, out=d_query_ba)

    def finish_additive(
        self,
        query_tba: Tensor,
        source: AttendedSource,
        d_energies_tbs: Tensor,
        additive: AdditiveGradients,
    ) -> None:
        assert source.v_a is not None
        # The factor that `attend_backward` has left out.
        additive.keys_bsa.mul_(source.v_a.unsqueeze(-2))


def _tanh_sum(
    query_ba: Float[Tensor, "b a"], keys_bsa: Float[Tensor, "b s a"]
) -> Float[Tensor, "b s a"]:
    """Compute tanh(q + k_s) of every source position."""
    return (query_ba[:, None] + keys_bsa).tanh_()


def _batched_product(
    matrices_bsa: Float[Tensor, "b s a"], vectors_ba: Float[Tensor, "b a"]
) -> Float[Tensor, "b s"]:
    """Compute the product of each sentence's matrix and vector."""
    return torch.bmm(matrices_bsa, vectors_ba[:, :, None])[:, :, 0]
