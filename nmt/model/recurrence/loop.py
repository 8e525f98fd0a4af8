"""The loop over the steps of a recurrence, forward and backward, on preallocated tensors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.model.recurrence.spec import AttentionOrder
from nmt.model.recurrence.tensors import (
    ActivationGradients,
    Inputs,
    SavedActivations,
    accumulation_dtype,
    head_rows,
)
from nmt.model.recurrence.torch_ops import AdditiveGradients, CellOps


@dataclass(frozen=True)
class Recurrence:
    """Forward and backward pass over all steps.

    Attributes:
        inputs: tensors to read
        saved: tensors that the forward pass writes and the backward pass reads
        order: whether a step attends before or after the layers update their states
        ops: implementation of LSTM cell and attention
    """

    inputs: Inputs
    saved: SavedActivations
    order: AttentionOrder
    ops: CellOps

    @property
    def hidden_tbd(self) -> Float[Tensor, "t b d"]:
        """Return the hidden states h_t of the top layer."""
        top_tbx = self.saved.inputs_tbx(self.inputs.layers - 1)
        return top_tbx[1:, :, : self.inputs.hidden_size]

    @property
    def input_feed_tbf(self) -> Float[Tensor, "t b f"]:
        """Return the contexts c_t, which enter step t, or h~_t, which enters step t + 1."""
        return self._feed_rows(self.saved.bottom_inputs_tbx)

    @property
    def query_states_tbd(self) -> Float[Tensor, "t b d"]:
        """Return the hidden states of the top layer that attend: h_{t-1} or h_t."""
        top_tbx = self.saved.inputs_tbx(self.inputs.layers - 1)
        before = self.order is AttentionOrder.BEFORE
        return (top_tbx[:-1] if before else top_tbx[1:])[:, :, : self.inputs.hidden_size]

    def forward(self) -> None:
        """Compute all steps."""
        for t in range(self.saved.steps):
            # The query is h_{t-1}, known before the step, or h_t.
            if self.order is AttentionOrder.BEFORE:
                self._attend(t)
                self._update_states(t)
            else:
                self._update_states(t)
                self._attend(t)
                self._feed_next_step(t)

    def backward(
        self,
        d_hidden_tbd: Float[Tensor, "t b d"],
        d_input_feed_tbf: Float[Tensor, "t b f"],
        d_weights_tns: Float[Tensor, "t n s"] | None = None,
    ) -> ActivationGradients:
        """Compute the gradients that depend on the following step.

        The gradients of weights, keys and values do not; they are computed after the loop, in one
        product over all steps each.

        Args:
            d_hidden_tbd: gradient of `hidden_tbd` by way of the readout
            d_input_feed_tbf: gradient of `input_feed_tbf` by way of the readout
            d_weights_tns: gradient of the attention weights as an output; None for zero
        """
        gradients = self._allocate_gradients(d_hidden_tbd, d_input_feed_tbf)
        # Each step reads one contiguous block, as the Triton kernels require.
        own_tns = None if d_weights_tns is None else d_weights_tns.contiguous()
        for t in reversed(range(self.saved.steps)):
            d_weights_ns = None if own_tns is None else own_tns[t]
            if self.order is AttentionOrder.BEFORE:
                self._update_states_backward(t, gradients)
                d_context_be = gradients.bottom_inputs_tbx[t, :, self.inputs.hidden_size :]
                self._attend_backward(t, gradients, d_context_be, d_weights_ns)
            else:
                # The halves of a step in the reverse order of the forward pass.
                d_context_be = self._feed_next_step_backward(t, gradients)
                self._attend_backward(t, gradients, d_context_be, d_weights_ns)
                self._update_states_backward(t, gradients)
        return gradients

    def _update_states(self, t: int) -> None:
        """Run the LSTM cells of all layers, from the bottom up."""
        inputs, d = self.inputs, self.inputs.hidden_size
        for layer in range(inputs.layers):
            inputs_tbx = self.saved.inputs_tbx(layer)
            gates_bg = self.saved.gates_ltbg[layer, t]
            # The projected input of the bottom layer contains its bias.
            start = inputs.upper_bias_lg[layer - 1] if layer else inputs.projected_tbg[t]
            torch.addmm(start, inputs_tbx[t], inputs.weight_gx(layer).mT, out=gates_bg)
            hidden_bd, cell_tbd = inputs_tbx[t + 1, :, :d], self.saved.cell_ltbd[layer]
            self.ops.lstm(gates_bg, cell_tbd[t], cell_tbd[t + 1], hidden_bd)
            if layer + 1 < inputs.layers:
                # h_t enters the layer above at the same step.
                above_bd = self.saved.inputs_tbx(layer + 1)[t, :, d:]
                if inputs.dropout_tlbd is None:
                    above_bd.copy_(hidden_bd)
                else:
                    torch.mul(hidden_bd, inputs.dropout_tlbd[t, layer], out=above_bd)

    def _attend(self, t: int) -> None:
        """Compute weights and context of the top layer's query."""
        saved, d = self.saved, self.inputs.hidden_size
        query_ba = self._query_state(saved.inputs_tbx(self.inputs.layers - 1), t)
        if self.inputs.query_ad is not None:
            assert saved.query_tba is not None
            query_ba = torch.mm(query_ba, self.inputs.query_ad.mT, out=saved.query_tba[t])
        if self.order is AttentionOrder.BEFORE:
            # The context is written to the input of the bottom layer at the same step.
            context_be = saved.bottom_inputs_tbx[t, :, d:]
        else:
            assert saved.combined_tbx is not None
            context_be = saved.combined_tbx[t, :, :-d]
        heads = self.inputs.heads
        context_ne = head_rows(context_be, heads)
        self.ops.attend(
            head_rows(query_ba, heads), self.inputs.source, saved.weights_tns[t], context_ne
        )
        if heads > 1:
            # A copy: the contexts of the heads are a part of a wider row.
            context_be.copy_(context_ne.view(context_be.shape))

    def _feed_next_step(self, t: int) -> None:
        """Compute h~_t = tanh(C [c_t; h_t]), an input of step t + 1."""
        combined_tbx, d = self.saved.combined_tbx, self.inputs.hidden_size
        assert combined_tbx is not None and self.inputs.combine_fx is not None
        combined_tbx[t, :, -d:] = self.hidden_tbd[t]
        feed_bf = self.saved.bottom_inputs_tbx[t + 1, :, d:]
        feed_bf.copy_(torch.mm(combined_tbx[t], self.inputs.combine_fx.mT).tanh_())

    def _update_states_backward(self, t: int, gradients: ActivationGradients) -> None:
        """Compute the gradients of the LSTM cells of all layers, from the top down."""
        inputs, saved, d = self.inputs, self.saved, self.inputs.hidden_size
        for layer in reversed(range(inputs.layers)):
            d_inputs_tbx = gradients.inputs_tbx(layer)
            d_gates_bg, cell_tbd = gradients.gates_ltbg[layer, t], saved.cell_ltbd[layer]
            self.ops.lstm_backward(
                saved.gates_ltbg[layer, t],
                cell_tbd[t],
                cell_tbd[t + 1],
                d_inputs_tbx[t + 1, :, :d],
                gradients.cell_lbd[layer],
                d_gates_bg,
            )
            # Both halves at once: the gradients of h_{t-1} and of r_t.
            d_inputs_tbx[t].addmm_(d_gates_bg, inputs.weight_gx(layer))
            if layer:
                # h_t of the layer below is in row t + 1 of that layer's own inputs.
                d_below_bd = gradients.inputs_tbx(layer - 1)[t + 1, :, :d]
                d_dropped_bd = d_inputs_tbx[t, :, d:]
                if inputs.dropout_tlbd is None:
                    d_below_bd.add_(d_dropped_bd)
                else:
                    d_below_bd.addcmul_(d_dropped_bd, inputs.dropout_tlbd[t, layer - 1])

    def _attend_backward(
        self,
        t: int,
        gradients: ActivationGradients,
        d_context_be: Float[Tensor, "b e"],
        d_weights_ns: Float[Tensor, "n s"] | None,
    ) -> None:
        """Compute the gradients of energies and query, and add the latter to the state's."""
        saved, top = self.saved, self.inputs.layers - 1
        state_bd = self._query_state(saved.inputs_tbx(top), t)
        query_ba = state_bd if saved.query_tba is None else saved.query_tba[t]
        d_query_ba, heads = gradients.query_tba[t], self.inputs.heads
        self.ops.attend_backward(
            head_rows(query_ba, heads),
            self.inputs.source,
            saved.weights_tns[t],
            head_rows(d_context_be, heads),
            d_weights_ns,
            gradients.energies_tns[t],
            # A view, because the gradients of the queries are contiguous.
            head_rows(d_query_ba, heads),
            gradients.additive,
        )
        # The query is one of several uses of the state, whose gradients add up.
        d_state_bd = self._query_state(gradients.inputs_tbx(top), t)
        if self.inputs.query_ad is None:
            d_state_bd.add_(d_query_ba)
        else:
            d_state_bd.addmm_(d_query_ba, self.inputs.query_ad)

    def _feed_next_step_backward(
        self, t: int, gradients: ActivationGradients
    ) -> Float[Tensor, "b e"]:
        """Add the gradient of [c_t; h_t] to that of h_t; return the gradient of c_t."""
        d, combine_fx = self.inputs.hidden_size, self.inputs.combine_fx
        assert gradients.feed_sum_tbf is not None and gradients.combined_tbx is not None
        assert combine_fx is not None
        # tanh' = 1 - tanh², and the forward pass has saved h~ as an input of step t + 1.
        feed_bf = self.saved.bottom_inputs_tbx[t + 1, :, d:]
        d_feed_bf = gradients.bottom_inputs_tbx[t + 1, :, d:]
        d_sum_bf = torch.mul(d_feed_bf, 1 - feed_bf.square(), out=gradients.feed_sum_tbf[t])
        d_combined_bx = torch.mm(d_sum_bf, combine_fx, out=gradients.combined_tbx[t])
        d_hidden_bd = gradients.inputs_tbx(self.inputs.layers - 1)[t + 1, :, :d]
        d_hidden_bd.add_(d_combined_bx[:, -d:])
        return d_combined_bx[:, :-d]

    def _allocate_gradients(
        self, d_hidden_tbd: Tensor, d_input_feed_tbf: Tensor
    ) -> ActivationGradients:
        """Allocate all gradients; the readout's contributions are filled in, the rest is zero."""
        inputs, saved = self.inputs, self.saved
        queries_tba = self.query_states_tbd if saved.query_tba is None else saved.query_tba
        combined_tbx = saved.combined_tbx
        gradients = ActivationGradients(
            torch.zeros_like(saved.bottom_inputs_tbx),
            torch.zeros_like(saved.upper_inputs_ltbx),
            torch.zeros_like(inputs.cell_lbd),
            # From here on every step writes its row whole, so that nothing has to be zero.
            torch.empty_like(saved.gates_ltbg),
            # Contiguous, as the Triton kernels require; the readout's gradients have any layout.
            d_hidden_tbd.new_empty(queries_tba.shape),
            torch.empty_like(saved.weights_tns),
            None if combined_tbx is None else d_input_feed_tbf.new_empty(d_input_feed_tbf.shape),
            None if combined_tbx is None else torch.empty_like(combined_tbx),
            self._allocate_additive(),
        )
        d_top_tbx = gradients.inputs_tbx(inputs.layers - 1)
        d_top_tbx[1:, :, : inputs.hidden_size] = d_hidden_tbd
        self._feed_rows(gradients.bottom_inputs_tbx).copy_(d_input_feed_tbf)
        return gradients

    def _allocate_additive(self) -> AdditiveGradients | None:
        if self.inputs.v_a is None:
            return None
        # In half precision, sums over dozens of steps would lose small contributions.
        tensors = (self.inputs.keys_nsa, self.inputs.v_a)
        zeros = (torch.zeros_like(x, dtype=accumulation_dtype(x.dtype)) for x in tensors)
        return AdditiveGradients(*zeros)

    def _query_state(self, top_tbx: Float[Tensor, "rows b x"], t: int) -> Float[Tensor, "b d"]:
        """Select the state that attends at step t: h_{t-1} is in row t, h_t in row t + 1."""
        row = t if self.order is AttentionOrder.BEFORE else t + 1
        return top_tbx[row, :, : self.inputs.hidden_size]

    def _feed_rows(self, bottom_tbx: Float[Tensor, "rows b x"]) -> Float[Tensor, "t b f"]:
        """Select r_t of the bottom layer: c_t is in row t, h~_t in row t + 1."""
        before = self.order is AttentionOrder.BEFORE
        return (bottom_tbx[:-1] if before else bottom_tbx[1:])[:, :, self.inputs.hidden_size :]
