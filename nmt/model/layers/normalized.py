"""Recurrent layers with layer normalization. Ba et al. 2016.

LN(x; a, b) = a∘(x - μ) / σ + b, where μ and σ are mean and standard deviation over the units of x.
A gain a begins as 1 and a bias b as 0; the forget gate of an LSTM has bias 1, as without LN.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from nmt.model.layers.recurrent import (
    GRULayer,
    LayerState,
    LSTMLayer,
    RecurrentLayer,
    gru_cell,
    lstm_cell,
)


class GateNorm(nn.Module):
    """LN of the sums that enter the gates: some neighboring gates together, each part on its own.

    Args:
        sizes: number of units of each part
        bias: whether LN has a bias
    """

    def __init__(self, sizes: list[int], *, bias: bool = True) -> None:
        super().__init__()
        self.sizes = sizes
        self.weight = nn.Parameter(torch.ones(sum(sizes)))
        self.bias = nn.Parameter(torch.zeros(sum(sizes))) if bias else None

    def forward(self, gates: Float[Tensor, "*axes g"]) -> Float[Tensor, "*axes g"]:
        if len(self.sizes) == 1:
            return layer_norm(gates, self.sizes, self.weight, self.bias)
        parts = gates.split_with_sizes(self.sizes, dim=-1)
        normalized = torch.cat([layer_norm(part, part.shape[-1:]) for part in parts], dim=-1)
        scaled = normalized * self.weight
        return scaled if self.bias is None else scaled + self.bias


class NormalizedLayer(RecurrentLayer):
    """Base of layers that normalize W x_t + C r_t and V h_{t-1} separately.

    Attributes:
        parts: how many gates each part of `GateNorm` has
    """

    has_input_bias, has_native = False, False
    parts: tuple[int, ...]

    def create_parameters(self) -> None:
        sizes = [gates * self.hidden_size for gates in self.parts]
        self.input_norm = GateNorm(sizes)
        # The bias of the sum of both is that of `input_norm`.
        self.recurrent_norm = GateNorm(sizes, bias=False)

    @property
    def bias(self) -> Float[Tensor, " g"]:
        assert self.input_norm.bias is not None
        return self.input_norm.bias

    @property
    def fused_obstacle(self) -> str:
        return "layer_norm"

    def normalized(
        self,
        projected_ng: Float[Tensor, "n g"],
        hidden_nd: Float[Tensor, "n d"],
        feedback_nf: Float[Tensor, "n f"] | None,
    ) -> tuple[Float[Tensor, "n g"], Float[Tensor, "n g"]]:
        """Return LN(W x_t + C r_t) + b and LN(V h_{t-1}), in float32 under autocast."""
        if feedback_nf is not None:
            projected_ng = projected_ng + self.feed(feedback_nf)
        recurrent_ng = self.recurrent_norm(_widen(self.recurrent(hidden_nd)))
        return self.input_norm(_widen(projected_ng)), recurrent_ng


class NormalizedLSTMLayer(NormalizedLayer):
    """LSTM with layer normalization. Ba et al. 2016, eqs. 20-22.

        (i, f, g, o) = LN(V h_{t-1}; a_1) + LN(W x_t + C r_t; a_2) + b
        c_t = σ(f)∘c_{t-1} + σ(i)∘tanh(g)
        h_t = σ(o)∘tanh(LN(c_t; a_3, b_3))

    The paper has a bias in each of the first two LN besides b, which is their sum here.
    """

    gates, has_cell, parts = LSTMLayer.gates, True, (LSTMLayer.gates,)

    def create_parameters(self) -> None:
        super().create_parameters()
        self.open_forget_gates()
        self.cell_norm = nn.LayerNorm(self.hidden_size)

    def step(
        self,
        projected_ng: Float[Tensor, "n g"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        input_ng, recurrent_ng = self.normalized(projected_ng, state.hidden_nd, feedback_nf)
        new = lstm_cell(
            input_ng + recurrent_ng,
            state,
            arithmetic=self.arithmetic,
            activation=lambda cell_nd: torch.tanh(self.cell_norm(cell_nd)),
        )
        new = new._replace(hidden_nd=new.hidden_nd.to(projected_ng.dtype))
        return self.zone_out(new, state)


class NormalizedGRULayer(NormalizedLayer):
    """GRU with layer normalization. Ba et al. 2016, supplementary material.

        (r, z) = LN(V_rz h_{t-1}; a_1) + LN(W_rz x_t + C_rz r_t; a_2) + b
        n = tanh(LN(W_n x_t + C_n r_t; a_3, b_3) + σ(r)∘LN(V_n h_{t-1}; a_4, b_4))
        h_t = (1 - σ(z))∘n + σ(z)∘h_{t-1}

    In the paper z and 1 - z are exchanged; here they are those of `GRULayer`.
    """

    gates, has_cell, parts = GRULayer.gates, False, (2, 1)

    def create_parameters(self) -> None:
        super().create_parameters()
        self.reset_bias = nn.Parameter(torch.zeros(self.hidden_size))

    def step(
        self,
        projected_ng: Float[Tensor, "n g"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        parts = self.normalized(projected_ng, state.hidden_nd, feedback_nf)
        hidden_nd = gru_cell(*parts, self.reset_bias, state.hidden_nd, self.arithmetic)
        return self.zone_out(LayerState(hidden_nd.to(projected_ng.dtype)), state)


class GateNormLSTMLayer(RecurrentLayer):
    """LSTM of RNMT+, with layer normalization of each gate. Chen et al. 2018, section 4.1.

        i, f, g, o = LN(W x_t + C r_t + V h_{t-1}), each gate with its own LN
        c_t = σ(f)∘c_{t-1} + σ(i)∘tanh(g) and h_t = σ(o)∘c_t

    "No non-linearity is applied to the LSTM output": the cell has no tanh on its way to h_t.
    """

    gates, has_cell = LSTMLayer.gates, True
    has_input_bias, has_native = False, False

    def create_parameters(self) -> None:
        self.norm = GateNorm([self.hidden_size] * self.gates)
        self.open_forget_gates()

    @property
    def bias(self) -> Float[Tensor, " g"]:
        assert self.norm.bias is not None
        return self.norm.bias

    @property
    def fused_obstacle(self) -> str:
        return "layer normalization of RNMT+"

    def step(
        self,
        projected_ng: Float[Tensor, "n g"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        sums_ng = projected_ng + self.recurrent(state.hidden_nd, feedback_nf)
        gates_ng = self.norm(_widen(sums_ng))
        new = lstm_cell(gates_ng, state, arithmetic=self.arithmetic, activation=lambda cell: cell)
        new = new._replace(hidden_nd=new.hidden_nd.to(sums_ng.dtype))
        return self.zone_out(new, state)


def _widen(sums_ng: Float[Tensor, "n g"]) -> Float[Tensor, "n g"]:
    """Convert sums in half precision to float32, in which the differences from a mean are exact."""
    return sums_ng.float() if sums_ng.dtype.itemsize < 4 else sums_ng
