"""The LSTM over all steps of a batch in training on a CPU, with kernels in C.

oneDNN's LSTM, which torch calls there, is about as fast, but it keeps three times as many numbers
for the backward pass, and about 5 MB of compiled code for every shape of a batch.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nmt.native.library import lstm_step, lstm_step_backward


def lstm_sequence(
    inputs_tnm: Float[Tensor, "t n m"],
    hidden_nd: Float[Tensor, "n d"],
    cell_nd: Float[Tensor, "n d"],
    weight_gm: Float[Tensor, "g m"],
    recurrent_gd: Float[Tensor, "g d"],
    bias_g: Float[Tensor, " g"],
) -> tuple[Float[Tensor, "t n d"], Float[Tensor, "n d"]]:
    """Compute the hidden states of all steps and the last cell, where `supports_training` is true.

    The formula is that of `LSTMLayer`. All tensors have one dtype, except the cells, which are in
    float32.

    Args:
        inputs_tnm: x_t
        hidden_nd: initial hidden state
        cell_nd: initial cell
        weight_gm: W, for the gates i, f, g, o
        recurrent_gd: V
        bias_g: b
    """
    outputs_tnd, last_cell_nd = _LSTMSequence.apply(  # type: ignore[no-untyped-call]
        inputs_tnm.contiguous(), hidden_nd, cell_nd.float(), weight_gm, recurrent_gd, bias_g
    )
    return outputs_tnd, last_cell_nd


class _LSTMSequence(Function):
    """An LSTM with a manual backward pass, which has one product over all steps for each weight."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs_tnm: Tensor,
        hidden_nd: Tensor,
        cell_nd: Tensor,
        weight_gm: Tensor,
        recurrent_gd: Tensor,
        bias_g: Tensor,
    ) -> tuple[Tensor, Tensor]:
        steps, sentences, _ = inputs_tnm.shape
        # The activations of the gates will replace these sums.
        gates_tng = torch.addmm(bias_g, inputs_tnm.flatten(0, 1), weight_gm.mT)
        gates_tng = gates_tng.view(steps, sentences, -1)
        # Row t is the state before step t.
        hidden_tnd = hidden_nd.new_empty(steps + 1, *hidden_nd.shape)
        cell_tnd = cell_nd.new_empty(steps + 1, *cell_nd.shape)
        hidden_tnd[0], cell_tnd[0] = hidden_nd, cell_nd
        states, cells = hidden_tnd.unbind(), cell_tnd.unbind()
        for t, gates_ng in enumerate(gates_tng.unbind()):
            gates_ng.addmm_(states[t], recurrent_gd.mT)
            lstm_step(gates_ng, cells[t], cells[t + 1], states[t + 1])
        ctx.save_for_backward(inputs_tnm, weight_gm, recurrent_gd, gates_tng, hidden_tnd, cell_tnd)
        # A view would keep the cells of all steps in memory.
        return hidden_tnd[1:], cell_tnd[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_outputs_tnd: Tensor, d_last_cell_nd: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        inputs_tnm, weight_gm, recurrent_gd, gates_tng, hidden_tnd, cell_tnd = ctx.saved_tensors
        d_gates_tng = torch.empty_like(gates_tng)
        d_hidden_tnd = torch.cat([torch.zeros_like(hidden_tnd[:1]), d_outputs_tnd])
        # The gradient of the cell of step t becomes that of step t - 1.
        d_cell_nd = d_last_cell_nd.clone(memory_format=torch.contiguous_format)
        states, cells = d_hidden_tnd.unbind(), cell_tnd.unbind()
        steps = zip(gates_tng.unbind(), d_gates_tng.unbind(), strict=True)
        for t, (gates_ng, d_gates_ng) in reversed(list(enumerate(steps))):
            lstm_step_backward(
                gates_ng, cells[t], cells[t + 1], states[t + 1], d_cell_nd, d_gates_ng
            )
            states[t].addmm_(d_gates_ng, recurrent_gd)
        d_gates_rg = d_gates_tng.flatten(0, 1)
        return (
            (d_gates_rg @ weight_gm).view_as(inputs_tnm),
            d_hidden_tnd[0],
            d_cell_nd,
            d_gates_rg.mT @ inputs_tnm.flatten(0, 1),
            d_gates_rg.mT @ hidden_tnd[:-1].flatten(0, 1),
            d_gates_rg.sum(0),
        )
