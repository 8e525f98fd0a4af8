"""Long short-term memory, one layer in one direction: a step at a time or a whole sequence."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from nmt.model.layers.initial import orthogonal_gates, xavier_gates

SHUT = 1e4  # σ(-SHUT) is 0 and σ(SHUT) is 1 in every floating-point type
GATES = 4  # input, forget, cell, output: the order of torch's own LSTM


class LSTMState(NamedTuple):
    """Hidden state and cell, n rows each."""

    hidden_nd: Float[Tensor, "n d"]
    cell_nd: Float[Tensor, "n d"]


class LSTMLayer(nn.Module):
    """c_t = f∘c_{t-1} + i∘g, h_t = o∘tanh(c_t). Hochreiter and Schmidhuber 1997, with forget gates.

    i, f, o = σ(·), g = tanh(·) of W x_t + V [h_{t-1}; r_t] + b. W x_t + b, the projection, depends
    on the input alone, so a known input is projected for all steps at once. r_t, the feedback, is
    what comes back from elsewhere at each step: a context or an attentional state.

    Args:
        input_size: width of x_t
        hidden_size: width of h_t and c_t
        feedback_size: width of r_t; 0 for none
    """

    def __init__(self, input_size: int, hidden_size: int, feedback_size: int = 0) -> None:
        super().__init__()
        self.hidden_size, self.feedback_size = hidden_size, feedback_size
        self.input_weight = nn.Parameter(xavier_gates(GATES, hidden_size, input_size))
        recurrent = orthogonal_gates(GATES, hidden_size)
        if feedback_size:
            recurrent = torch.cat(
                [recurrent, xavier_gates(GATES, hidden_size, feedback_size)], dim=1
            )
        self.recurrent_weight = nn.Parameter(recurrent)
        bias = torch.zeros(GATES * hidden_size)
        bias[hidden_size : 2 * hidden_size] = 1.0  # forget little at first: Jozefowicz et al. 2015
        self.bias = nn.Parameter(bias)

    def project(self, inputs: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes gates"]:
        """W x + b for any number of inputs at once."""
        return linear(inputs, self.input_weight, self.bias)

    def step(
        self,
        projected_ng: Float[Tensor, "n gates"],
        state: LSTMState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LSTMState:
        """One step from projected inputs."""
        recurrent_n = state.hidden_nd
        if feedback_nf is not None:
            recurrent_n = torch.cat([recurrent_n, feedback_nf], dim=-1)
        gates_ng = projected_ng + linear(recurrent_n, self.recurrent_weight)
        input_nd, forget_nd, new_nd, output_nd = gates_ng.chunk(GATES, dim=-1)
        # The cell adds up over the whole sentence, so it keeps its precision under autocast.
        kept_nd = torch.sigmoid(forget_nd) * state.cell_nd
        cell_nd = kept_nd + torch.sigmoid(input_nd) * torch.tanh(new_nd)
        hidden_nd = torch.sigmoid(output_nd) * torch.tanh(cell_nd)
        return LSTMState(hidden_nd.to(gates_ng.dtype), cell_nd)

    def sequence(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LSTMState | None = None,
        hold_tn: Bool[Tensor, "t n"] | None = None,
    ) -> tuple[Float[Tensor, "t n d"], LSTMState]:
        """All steps over inputs with the time axis first, by torch's own LSTM (oneDNN, cuDNN).

        Where `hold_tn` is True the cell keeps its value: an input of one more column shuts the
        input gate and opens the forget gate, exactly, so the last cell is that of the last real
        step.
        """
        assert not self.feedback_size, "a sequence with feedback is not known before its steps"
        input_weight: Tensor = self.input_weight
        if hold_tn is not None:
            inputs_tnm = torch.cat([inputs_tnm, hold_tn[:, :, None].to(inputs_tnm.dtype)], dim=-1)
            input_weight = torch.cat([input_weight, self._hold_column()], dim=-1)
        return lstm(inputs_tnm, state, input_weight, self.recurrent_weight, self.bias)

    def _hold_column(self) -> Float[Tensor, "gates 1"]:
        column_g = self.bias.new_zeros(GATES, self.hidden_size)
        column_g[0], column_g[1] = -SHUT, SHUT
        return column_g.flatten()[:, None]


def lstm(
    inputs_tnm: Float[Tensor, "t n m"],
    state: LSTMState | None,
    input_weight: Float[Tensor, "gates m"],
    recurrent_weight: Float[Tensor, "gates d"],
    bias: Float[Tensor, " gates"],
) -> tuple[Float[Tensor, "t n d"], LSTMState]:
    """torch's LSTM with given weights; the state is zero where none is given."""
    dtype = _compute_dtype(inputs_tnm)
    if state is None:
        zero_nd = inputs_tnm.new_zeros(inputs_tnm.size(1), recurrent_weight.size(1))
        state = LSTMState(zero_nd, zero_nd)
    weights = [w.to(dtype) for w in (input_weight, recurrent_weight, bias, torch.zeros_like(bias))]
    start = tuple(part_nd[None].to(dtype) for part_nd in state)
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
    return outputs_tnd, LSTMState(hidden_1nd[0], cell_1nd[0])


def _compute_dtype(inputs: Tensor) -> torch.dtype:
    device = inputs.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return inputs.dtype
