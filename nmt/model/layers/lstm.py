"""Long short-term memory."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.model.layers.cell import LayerState, RecurrentLayer, compute_dtype

SHUT = 1e4  # σ(-SHUT) is 0 and σ(SHUT) is 1 in every floating-point type


class LSTMLayer(RecurrentLayer):
    """c_t = f∘c_{t-1} + i∘g, h_t = o∘tanh(c_t). Hochreiter and Schmidhuber 1997, with forget gates.

    i, f, o = σ(·), g = tanh(·) of W x_t + V [h_{t-1}; r_t] + b, in the order i, f, g, o of torch.
    """

    supports_fused = True
    gates, has_cell = 4, True

    def __init__(
        self, input_size: int | tuple[int, ...], hidden_size: int, feedback_size: int = 0
    ) -> None:
        super().__init__(input_size, hidden_size, feedback_size)
        with torch.no_grad():
            # Forget little at first: Jozefowicz et al. 2015.
            self.bias[hidden_size : 2 * hidden_size] = 1.0

    def step(
        self,
        projected_ng: Float[Tensor, "n gates"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        return lstm_cell(projected_ng + self.recurrent(state.hidden_nd, feedback_nf), state)

    def sequence(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LayerState | None = None,
        hold_tn: Bool[Tensor, "t n"] | None = None,
    ) -> tuple[Float[Tensor, "t n d"], LayerState]:
        """All steps; held ones by an input of one more column.

        It shuts the input gate and opens the forget gate, exactly, so the last cell is that of the
        last real step; hidden states of held steps mean nothing.
        """
        assert not self.feedback_size, "a sequence with feedback is not known before its steps"
        input_weight: Tensor = self.input.weight
        if hold_tn is not None:
            inputs_tnm = torch.cat([inputs_tnm, hold_tn[:, :, None].to(inputs_tnm.dtype)], dim=-1)
            input_weight = torch.cat([input_weight, self._hold_column()], dim=-1)
        return _lstm(inputs_tnm, state, input_weight, self.recurrent.weight, self.bias)

    def _hold_column(self) -> Float[Tensor, "gates 1"]:
        column_g = self.input.weight.new_zeros(self.gates, self.hidden_size)
        column_g[0], column_g[1] = -SHUT, SHUT
        return column_g.flatten()[:, None]


def lstm_cell(
    gates_ng: Float[Tensor, "n gates"],
    state: LayerState,
    carried_nd: Float[Tensor, "n d"] | None = None,
) -> LayerState:
    """The new state of an LSTM whose gates have been summed up, in the order i, f, g, o.

    What is carried in is added to the cell.
    """
    assert state.cell_nd is not None
    input_nd, forget_nd, new_nd, output_nd = gates_ng.chunk(LSTMLayer.gates, dim=-1)
    # The cell adds up over the whole sentence, so it keeps its precision under autocast.
    kept_nd = torch.sigmoid(forget_nd) * state.cell_nd
    cell_nd = kept_nd + torch.sigmoid(input_nd) * torch.tanh(new_nd)
    if carried_nd is not None:
        cell_nd = cell_nd + carried_nd
    hidden_nd = torch.sigmoid(output_nd) * torch.tanh(cell_nd)
    return LayerState(hidden_nd.to(gates_ng.dtype), cell_nd)


def _lstm(
    inputs_tnm: Float[Tensor, "t n m"],
    state: LayerState | None,
    input_weight: Float[Tensor, "gates m"],
    recurrent_weight: Float[Tensor, "gates d"],
    bias: Float[Tensor, " gates"],
) -> tuple[Float[Tensor, "t n d"], LayerState]:
    """torch's LSTM with given weights; the state is zero where none is given."""
    dtype = compute_dtype(inputs_tnm)
    if state is None:
        zero_nd = inputs_tnm.new_zeros(inputs_tnm.size(1), recurrent_weight.size(1))
        state = LayerState(zero_nd, zero_nd)
    assert state.cell_nd is not None
    weights = [w.to(dtype) for w in (input_weight, recurrent_weight, bias, torch.zeros_like(bias))]
    start = (state.hidden_nd[None].to(dtype), state.cell_nd[None].to(dtype))
    # cuDNN's autocast rule casts to float16 whatever the autocast type; so the cast is ours.
    with torch.autocast(inputs_tnm.device.type, enabled=False):
        outputs_tnd, hidden_1nd, cell_1nd = torch.lstm(
            inputs_tnm.to(dtype),
            start,
            weights,
            True,
            1,
            0.0,
            torch.is_grad_enabled(),
            False,
            False,
        )
    return outputs_tnd, LayerState(hidden_1nd[0], cell_1nd[0])
