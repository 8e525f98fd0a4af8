"""Recurrent layers: the long short-term memory and the gated recurrent unit."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.model.interfaces import FusedSupport
from nmt.model.layers.arithmetic import TORCH_ARITHMETIC, Arithmetic
from nmt.model.layers.cudnn import cast_weights
from nmt.model.layers.dropout import NO_STATE_DROPOUT, StateDropout, zoneout
from nmt.model.layers.linear import ConcatLinear, orthogonal_gates, xavier_gates
from nmt.model.layers.lstm_sequence import lstm_sequence
from nmt.native.library import supports_training

Cell = Literal["lstm", "gru"]

GATE_SATURATION = 1e4  # σ(-1e4) is 0 and σ(1e4) is 1 in every floating-point type


class LayerState(NamedTuple):
    """State of a recurrent layer: the hidden state and, in an LSTM, the cell."""

    hidden_nd: Float[Tensor, "n d"]
    cell_nd: Float[Tensor, "n d"] | None = None


class RecurrentLayer(FusedSupport, nn.Module, ABC):
    """One recurrent layer in one direction, for single steps and for whole sequences.

    The gates are sums of three terms: the projection W x_t + b of the input, V h_{t-1} of the
    state, and C r_t of the feedback r_t, a context or an input feed that enters at each step. The
    projection depends on the input alone, so a known input is projected for all steps at once.

    Args:
        input_size: width of x_t, or the widths of the inputs that are concatenated to x_t
        hidden_size: width of h_t
        feedback_size: width of r_t; 0 for none
        rates: regularization

    Attributes:
        gates: number of gates
        has_cell: whether the state has a cell
        has_input_bias: whether `input` contains the bias b
        has_native: whether torch has a layer that computes the same sequences
        input: W and b
        recurrent: [V C]
        arithmetic: row-independent in search
    """

    fused_methods = ("project", "feed", "step")
    gates: ClassVar[int]
    has_cell: ClassVar[bool]
    has_input_bias: ClassVar[bool] = True
    has_native: ClassVar[bool] = True
    arithmetic: Arithmetic = TORCH_ARITHMETIC

    def __init__(
        self,
        input_size: int | tuple[int, ...],
        hidden_size: int,
        feedback_size: int = 0,
        rates: StateDropout = NO_STATE_DROPOUT,
    ) -> None:
        super().__init__()
        self.hidden_size, self.feedback_size, self.rates = hidden_size, feedback_size, rates
        self.supports_fused &= not rates.zones_out
        # Several inputs share one product, or have their terms computed apart.
        sizes = input_size if isinstance(input_size, tuple) else (input_size,)
        weight_gm = xavier_gates(self.gates, hidden_size, sum(sizes))
        bias_g = torch.zeros(self.gates * hidden_size) if self.has_input_bias else None
        self.input = ConcatLinear(sizes, weight_gm, bias_g)
        # [V C]: orthogonal for the state, Glorot for the feedback.
        recurrent = orthogonal_gates(self.gates, hidden_size)
        if feedback_size:
            feedback = xavier_gates(self.gates, hidden_size, feedback_size)
            whole = torch.empty(len(recurrent), hidden_size + feedback_size)
            whole[:, :hidden_size], whole[:, hidden_size:] = recurrent, feedback
            recurrent = whole
        self.recurrent = ConcatLinear((hidden_size, feedback_size), recurrent)
        self.create_parameters()

    def create_parameters(self) -> None:
        """Create the parameters of a subclass besides W, V, C and b, or change initial values."""

    @property
    def bias(self) -> Float[Tensor, " g"]:
        """Return the bias b."""
        assert self.input.bias is not None
        return self.input.bias

    def open_forget_gates(self) -> None:
        """Set the bias of the forget gate of an LSTM to 1.

        Open forget gates help to learn long dependencies. Jozefowicz et al. 2015.
        """
        with torch.no_grad():
            self.bias[self.hidden_size : 2 * self.hidden_size] = 1.0

    def project(self, *inputs: Float[Tensor, "*axes _"] | None) -> Float[Tensor, "*axes g"]:
        """Compute W x + b for any number of inputs; see `ConcatLinear`."""
        projected: Tensor = self.input(*inputs)
        return projected

    def feed(self, feedback: Float[Tensor, "*axes f"]) -> Float[Tensor, "*axes g"]:
        """Compute C r for any number of feedback vectors, to be added to projected inputs."""
        return self.recurrent.term(1, feedback)

    def initial_state(self, hidden_nd: Float[Tensor, "n d"]) -> LayerState:
        """Return the state with this hidden state and a zero cell, if the layer has cells."""
        return LayerState(hidden_nd, torch.zeros_like(hidden_nd) if self.has_cell else None)

    @abstractmethod
    def step(
        self,
        projected_ng: Float[Tensor, "n g"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        """Compute the next state from projected inputs."""

    @property
    def fused_obstacle(self) -> str:
        """Return the option that the fused recurrence does not support, where it is unsupported."""
        return "zoneout" if self.rates.zones_out else f"cell {type(self).__name__}"

    def native_sequence(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LayerState | None,
        hold_tn: Bool[Tensor, "t n"] | None,
    ) -> tuple[Float[Tensor, "t n d"], LayerState]:
        """Compute `sequence` by torch's own layer or by kernels, if `has_native` is True."""
        raise NotImplementedError

    def sequence(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LayerState | None = None,
        hold_tn: Bool[Tensor, "t n"] | None = None,
    ) -> tuple[Float[Tensor, "t n d"], LayerState]:
        """Compute the hidden states of all steps and the last state.

        Args:
            inputs_tnm: inputs, time axis first
            state: initial state (default: zero)
            hold_tn: steps that leave the cell unchanged, such as padding
        """
        assert not self.feedback_size, "feedback is unknown before its step"
        if self.is_native:
            return self.native_sequence(inputs_tnm, state, hold_tn)
        return self.sequence_by_steps(inputs_tnm, state, hold_tn)

    @property
    def is_native(self) -> bool:
        """Return whether torch's own layer computes `sequence`."""
        return self.has_native and not self.rates.zones_out

    def sequence_by_steps(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LayerState | None = None,
        hold_tn: Bool[Tensor, "t n"] | None = None,
    ) -> tuple[Float[Tensor, "t n d"], LayerState]:
        """Compute `sequence` by a loop over `step`."""
        projected_tng = self.project(inputs_tnm)
        if state is None:
            zero_nd = projected_tng.new_zeros(inputs_tnm.size(1), self.hidden_size)
            state = self.initial_state(zero_nd)
        outputs = []
        for t, projected_ng in enumerate(projected_tng.unbind(0)):
            before, state = state, self.step(projected_ng, state)
            outputs.append(state.hidden_nd)
            if hold_tn is not None and before.cell_nd is not None:
                assert state.cell_nd is not None
                cell_nd = before.cell_nd.where(hold_tn[t][:, None], state.cell_nd)
                state = state._replace(cell_nd=cell_nd)
        return torch.stack(outputs), state

    def zone_out(self, new: LayerState, before: LayerState) -> LayerState:
        """Apply zoneout to the state after a step."""
        rates = self.rates
        hidden_nd = zoneout(new.hidden_nd, before.hidden_nd, rates.zoneout, self.training)
        if new.cell_nd is None or before.cell_nd is None:
            return LayerState(hidden_nd)
        cell_nd = zoneout(new.cell_nd, before.cell_nd, rates.zoneout_cell, self.training)
        return LayerState(hidden_nd, cell_nd)


class LSTMLayer(RecurrentLayer):
    """Long short-term memory. Hochreiter and Schmidhuber 1997, with forget gates.

    c_t = f∘c_{t-1} + i∘g and h_t = o∘tanh(c_t), with i, f, o = σ(·) and g = tanh(·) of
    W x_t + V h_{t-1} + C r_t + b. The gates are in torch's order: i, f, g, o.
    """

    supports_fused = True
    gates, has_cell = 4, True

    def create_parameters(self) -> None:
        self.open_forget_gates()

    def step(
        self,
        projected_ng: Float[Tensor, "n g"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        gates_ng = projected_ng + self.recurrent(state.hidden_nd, feedback_nf)
        return self.zone_out(lstm_cell(gates_ng, state, arithmetic=self.arithmetic), state)

    def native_sequence(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LayerState | None,
        hold_tn: Bool[Tensor, "t n"] | None,
    ) -> tuple[Float[Tensor, "t n d"], LayerState]:
        dtype = compute_dtype(inputs_tnm)
        input_weight_gm: Tensor = self.input.weight
        if hold_tn is not None:
            # One more input column closes the input gate and opens the forget gate, exactly, so the
            # last cell is that of the last real step. Hidden states of held steps are meaningless.
            columns = _hold_columns(inputs_tnm)
            hold_tnx = hold_tn[:, :, None].expand(-1, -1, columns).to(inputs_tnm.dtype)
            inputs_tnm = torch.cat([inputs_tnm, hold_tnx], dim=-1)
            input_weight_gm = torch.cat([input_weight_gm, self._hold_weight(columns)], dim=-1)
        if state is None:
            zero_nd = inputs_tnm.new_zeros(inputs_tnm.size(1), self.hidden_size)
            state = LayerState(zero_nd, zero_nd)
        assert state.cell_nd is not None
        weights = (input_weight_gm, self.recurrent.weight, self.bias)
        if torch.is_grad_enabled() and supports_training(inputs_tnm.new_empty(0, dtype=dtype)):
            hidden_nd, cell_nd = state.hidden_nd.to(dtype), state.cell_nd
            with torch.autocast(inputs_tnm.device.type, enabled=False):
                outputs_tnd, last_cell_nd = lstm_sequence(
                    inputs_tnm.to(dtype), hidden_nd, cell_nd, *(x.to(dtype) for x in weights)
                )
            return outputs_tnd, LayerState(outputs_tnd[-1], last_cell_nd.to(dtype))
        # torch adds a second bias, which an LSTM does not need.
        torch_weights = cast_weights((*weights, torch.zeros_like(self.bias)), dtype)
        start = (_initial(state.hidden_nd, dtype), _initial(state.cell_nd, dtype))
        # Under autocast of any type, torch casts inputs of cuDNN to float16, so we cast ourselves.
        with torch.autocast(inputs_tnm.device.type, enabled=False):
            outputs_tnd, hidden_1nd, cell_1nd = torch.lstm(
                inputs_tnm.to(dtype), start, torch_weights, True, 1, 0.0, True, False, False
            )
        return outputs_tnd, LayerState(hidden_1nd[0], cell_1nd[0])

    def _hold_weight(self, columns: int) -> Float[Tensor, "g x"]:
        """Return the weight of input columns that hold the cell; all but the first one are zero."""
        weight_gx = self.input.weight.new_zeros(self.gates, self.hidden_size, columns)
        # Gates i and f of every unit; g and o are unaffected.
        weight_gx[0, :, 0], weight_gx[1, :, 0] = -GATE_SATURATION, GATE_SATURATION
        return weight_gx.flatten(0, 1)


def _hold_columns(inputs_tnm: Float[Tensor, "t n m"]) -> int:
    """Return the number of input columns to add: one, or for products of cuDNN eight.

    In half precision they use tensor cores only if the width is a multiple of 8.
    """
    return 8 if inputs_tnm.is_cuda else 1


def lstm_cell(
    gates_ng: Float[Tensor, "n g"],
    state: LayerState,
    added_nd: Float[Tensor, "n d"] | None = None,
    arithmetic: Arithmetic = TORCH_ARITHMETIC,
    activation: Callable[[Tensor], Tensor] = torch.tanh,
) -> LayerState:
    """Compute the next state of an LSTM from the sums of its gates, in the order i, f, g, o.

    Args:
        gates_ng: sums that enter the gates
        state: the state before
        added_nd: an addend of the new cell
        arithmetic: row-independent in search
        activation: function of the cell that the output gate multiplies
    """
    assert state.cell_nd is not None
    hidden_nd, cell_nd = arithmetic.lstm_cell(gates_ng, state.cell_nd, added_nd, activation)
    # The cell accumulates over the whole sentence, so it keeps its precision under autocast. The
    # hidden state has the type of the products.
    return LayerState(hidden_nd.to(gates_ng.dtype), cell_nd)


class GRULayer(RecurrentLayer):
    """Gated recurrent unit. Cho et al. 2014, eqs. 5-8.

    h_t = (1 - z)∘n + z∘h_{t-1}, with r, z = σ(W x_t + V h_{t-1} + C f_t + b), the feedback f_t, and
    n = tanh(W x_t + C f_t + b + r∘(V h_{t-1} + b')). The reset gate r multiplies the product, as in
    torch and cuDNN; in the paper it multiplies h_{t-1}. The gates are in torch's order: r, z, n.
    """

    gates, has_cell = 3, False

    def create_parameters(self) -> None:
        self.reset_bias = nn.Parameter(torch.zeros(self.hidden_size))

    def step(
        self,
        projected_ng: Float[Tensor, "n g"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        if feedback_nf is not None:
            projected_ng = projected_ng + self.feed(feedback_nf)
        # V h_{t-1} apart from the input, because r multiplies only its part of n.
        recurrent_ng: Tensor = self.recurrent(state.hidden_nd)
        hidden_nd = gru_cell(
            projected_ng, recurrent_ng, self.reset_bias, state.hidden_nd, self.arithmetic
        )
        return self.zone_out(LayerState(hidden_nd), state)

    def native_sequence(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LayerState | None,
        hold_tn: Bool[Tensor, "t n"] | None,
    ) -> tuple[Float[Tensor, "t n d"], LayerState]:
        assert hold_tn is None, "a GRU has no cell; the hidden state of every step is returned"
        dtype = compute_dtype(inputs_tnm)
        if state is None:
            state = LayerState(inputs_tnm.new_zeros(inputs_tnm.size(1), self.hidden_size))
        # torch has two biases; only that of n is inside the reset gate, so the others are ours.
        zeros_x = torch.zeros_like(self.bias[: 2 * self.hidden_size])
        biases = (self.bias, torch.cat([zeros_x, self.reset_bias]))
        weights = cast_weights((self.input.weight, self.recurrent.weight, *biases), dtype)
        start_1nd = _initial(state.hidden_nd, dtype)
        # As in `LSTMLayer.sequence`.
        with torch.autocast(inputs_tnm.device.type, enabled=False):
            outputs_tnd, hidden_1nd = torch.gru(
                inputs_tnm.to(dtype), start_1nd, weights, True, 1, 0.0, True, False, False
            )
        return outputs_tnd, LayerState(hidden_1nd[0])


def gru_cell(
    projected_ng: Float[Tensor, "n g"],
    recurrent_ng: Float[Tensor, "n g"],
    reset_bias_d: Float[Tensor, " d"],
    before_nd: Float[Tensor, "n d"],
    arithmetic: Arithmetic = TORCH_ARITHMETIC,
) -> Float[Tensor, "n d"]:
    """Compute the next hidden state of a GRU from two addends of its gates, in the order r, z, n.

    Args:
        projected_ng: addend of the input
        recurrent_ng: addend of the state
        reset_bias_d: b', a bias inside the reset gate
        before_nd: h_{t-1}
        arithmetic: row-independent in search
    """
    reset_nd, update_nd, new_nd = projected_ng.chunk(GRULayer.gates, dim=-1)
    recurrent_reset_nd, recurrent_update_nd, recurrent_new_nd = recurrent_ng.chunk(
        GRULayer.gates, dim=-1
    )
    # r and z, eqs. 5 and 6
    reset_nd = arithmetic.sigmoid(reset_nd + recurrent_reset_nd)
    update_nd = arithmetic.sigmoid(update_nd + recurrent_update_nd)
    # n, eq. 8, with its own bias inside the reset gate
    new_nd = torch.tanh(new_nd + reset_nd * (recurrent_new_nd + reset_bias_d))
    # (1 - z)∘n + z∘h_{t-1} with one product less, eq. 7
    return new_nd + update_nd * (before_nd - new_nd)


def _initial(state_nd: Float[Tensor, "n d"], dtype: torch.dtype) -> Float[Tensor, "1 n d"]:
    """Cast an initial state of torch's own recurrent layer; cuDNN takes contiguous ones alone."""
    return state_nd[None].to(dtype).contiguous()


def compute_dtype(inputs: Tensor) -> torch.dtype:
    """Return the type in which products are computed: that of autocast, if it is on."""
    device = inputs.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return inputs.dtype
