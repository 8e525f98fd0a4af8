"""The gated recurrent unit."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.model.layers.cell import LayerState, RecurrentLayer, compute_dtype


class GRULayer(RecurrentLayer):
    """h_t = (1 - z)∘n + z∘h_{t-1}. Cho et al. 2014, eqs. 5-8.

    r, z = σ(W x_t + V h_{t-1} + C f_t + b) and n = tanh(W x_t + C f_t + b + r∘(V h_{t-1} + b')),
    with the feedback f_t: the reset gate stands after the product, as in torch and cuDNN, not
    before it as in the paper. The gates' order is torch's: r, z, n.
    """

    gates, has_cell = 3, False

    def __init__(
        self, input_size: int | tuple[int, ...], hidden_size: int, feedback_size: int = 0
    ) -> None:
        super().__init__(input_size, hidden_size, feedback_size)
        self.reset_bias = nn.Parameter(torch.zeros(hidden_size))

    def step(
        self,
        projected_ng: Float[Tensor, "n gates"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        if feedback_nf is not None:
            projected_ng = projected_ng + self.feed(feedback_nf)
        reset_nd, keep_nd, new_nd = projected_ng.chunk(self.gates, dim=-1)
        recurrent_ng = self.recurrent(state.hidden_nd)
        reset_part_nd, keep_part_nd, new_part_nd = recurrent_ng.chunk(self.gates, dim=-1)
        reset_nd = torch.sigmoid(reset_nd + reset_part_nd)
        keep_nd = torch.sigmoid(keep_nd + keep_part_nd)
        new_nd = torch.tanh(new_nd + reset_nd * (new_part_nd + self.reset_bias))
        return LayerState(new_nd + keep_nd * (state.hidden_nd - new_nd))

    def sequence(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LayerState | None = None,
        hold_tn: Bool[Tensor, "t n"] | None = None,
    ) -> tuple[Float[Tensor, "t n d"], LayerState]:
        assert not self.feedback_size, "a sequence with feedback is not known before its steps"
        assert hold_tn is None, "a state that is its layer's output can be read where it is wanted"
        dtype = compute_dtype(inputs_tnm)
        if state is None:
            state = LayerState(inputs_tnm.new_zeros(inputs_tnm.size(1), self.hidden_size))
        bias = self.bias
        recurrent_bias = torch.cat(
            [torch.zeros_like(bias[: 2 * self.hidden_size]), self.reset_bias]
        )
        weights = (self.input.weight, self.recurrent.weight, bias, recurrent_bias)
        # cuDNN's autocast rule casts to float16 whatever the autocast type; so the cast is ours.
        with torch.autocast(inputs_tnm.device.type, enabled=False):
            outputs_tnd, hidden_1nd = torch.gru(
                inputs_tnm.to(dtype),
                state.hidden_nd[None].to(dtype),
                [weight.to(dtype) for weight in weights],
                True,
                1,
                0.0,
                torch.is_grad_enabled(),
                False,
                False,
            )
        return outputs_tnd, LayerState(hidden_1nd[0])
