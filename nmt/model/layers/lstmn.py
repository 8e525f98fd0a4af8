"""The long short-term memory-network: an LSTM that recalls from all it has written."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from nmt.model.layers.cell import LayerState, compute_dtype
from nmt.model.layers.initial import orthogonal_gates, xavier, xavier_gates
from nmt.model.layers.lstm import LSTMLayer, lstm_cell


class Tapes(NamedTuple):
    """What a layer remembers, n rows; the tapes grow by one place a step.

    Attributes:
        written_ntw: hidden tape and memory tape side by side, [h_i; c_i]
        keys_nta: W_h h_i of every place
        hidden_nd: h of the last place, zero before there is one
        query_na: W_h~ h~ of the last step
        weights_nt: s of the last step, over the places that there were then
    """

    written_ntw: Float[Tensor, "n t w"]
    keys_nta: Float[Tensor, "n t a"]
    hidden_nd: Float[Tensor, "n d"]
    query_na: Float[Tensor, "n a"]
    weights_nt: Float[Tensor, "n t"]


class LSTMNLayer(nn.Module):
    """An LSTM with tapes in place of h_{t-1} and c_{t-1}. Cheng et al. 2016, section 3.2.

    s_i = softmax_i(v·tanh(W_h h_i + W_x x_t + W_h~ h~_{t-1})) over all places i before t, and
    [h~_t; c~_t] = Σ_i s_i [h_i; c_i], zero where nothing was written yet. Then i, f, o = σ(·) and
    g = tanh(·) of W [h~_t; x_t] + b, c_t = f∘c~_t + i∘g, h_t = o∘tanh(c_t). Feedback is a part of
    x_t that comes back from elsewhere at each step.

    Args:
        input_size: width of x_t without feedback
        hidden_size: width of h_t
        attention_size: width a of the alignment
        feedback_size: width of the feedback; 0 for none
    """

    def __init__(
        self, input_size: int, hidden_size: int, attention_size: int, feedback_size: int = 0
    ) -> None:
        super().__init__()
        self.hidden_size, self.attention_size = hidden_size, attention_size
        # On top of each other: W of the gates, in the order i, f, g, o, and W of the alignment.
        self.input_weight = self._weight(input_size)
        self.feedback_weight = self._weight(feedback_size) if feedback_size else None
        recalled = [orthogonal_gates(LSTMLayer.gates, hidden_size)]
        recalled.append(xavier(attention_size, hidden_size))
        self.recalled_weight = nn.Parameter(torch.cat(recalled))
        self.key_weight_ad = nn.Parameter(xavier(attention_size, hidden_size))
        self.v_a = nn.Parameter(xavier(1, attention_size)[0])
        self.bias = nn.Parameter(torch.zeros(LSTMLayer.gates * hidden_size))
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size] = 1.0

    def _weight(self, size: int) -> nn.Parameter:
        gates = xavier_gates(LSTMLayer.gates, self.hidden_size, size)
        return nn.Parameter(torch.cat([gates, xavier(self.attention_size, size)]))

    @property
    def projected_size(self) -> int:
        """Width of what `project` makes of an input."""
        return LSTMLayer.gates * self.hidden_size + self.attention_size

    def project(self, inputs: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes gates"]:
        """[W x + b; W_x x], for any number of inputs at once."""
        return linear(inputs, self.input_weight, pad(self.bias, (0, self.attention_size)))

    def blank(self, inputs_nx: Float[Tensor, "n x"]) -> Tapes:
        """Tapes without a place, for as many rows as these inputs have."""
        rows, dtype = inputs_nx.size(0), compute_dtype(inputs_nx)
        return Tapes(
            written_ntw=inputs_nx.new_zeros(rows, 0, 2 * self.hidden_size),
            keys_nta=inputs_nx.new_zeros(rows, 0, self.attention_size, dtype=dtype),
            hidden_nd=inputs_nx.new_zeros(rows, self.hidden_size),
            query_na=inputs_nx.new_zeros(rows, self.attention_size, dtype=dtype),
            weights_nt=inputs_nx.new_zeros(rows, 0),
        )

    def begin(self, state: LayerState) -> Tapes:
        """Tapes whose first place holds this state."""
        return self._write(self.blank(state.hidden_nd), state)

    def step(
        self,
        projected_ng: Float[Tensor, "n gates"],
        tapes: Tapes,
        feedback_nf: Float[Tensor, "n f"] | None = None,
        carried_nd: Float[Tensor, "n d"] | None = None,
    ) -> Tapes:
        """One step from projected inputs; what is carried in is added to c_t."""
        if feedback_nf is not None:
            assert self.feedback_weight is not None
            projected_ng = projected_ng + linear(feedback_nf, self.feedback_weight)
        sizes = [LSTMLayer.gates * self.hidden_size, self.attention_size]
        gates_ng, query_na = torch.split(projected_ng, sizes, dim=-1)
        recalled, weights_nt = self._recall(query_na + tapes.query_na, tapes)
        recalled_ng = linear(recalled.hidden_nd, self.recalled_weight)
        recalled_ng, query_na = torch.split(recalled_ng, sizes, dim=-1)
        state = lstm_cell(gates_ng + recalled_ng, recalled, carried_nd)
        return self._write(tapes._replace(query_na=query_na, weights_nt=weights_nt), state)

    def sequence(
        self, inputs_tnm: Float[Tensor, "t n m"]
    ) -> tuple[Float[Tensor, "t n w"], tuple[Float[Tensor, "n _"], ...]]:
        """[h; c] of all steps from blank tapes, and every step's weights."""
        tapes, weights = self.blank(inputs_tnm[0]), []
        for projected_ng in self.project(inputs_tnm).unbind(0):
            tapes = self.step(projected_ng, tapes)
            weights.append(tapes.weights_nt)
        return tapes.written_ntw.transpose(0, 1), tuple(weights)

    def _recall(
        self, query_na: Float[Tensor, "n a"], tapes: Tapes
    ) -> tuple[LayerState, Float[Tensor, "n t"]]:
        """h~ and c~, and s."""
        # Sums, not matrix products: those round a row differently where there are few rows, and
        # are narrow under autocast, where a cell keeps its precision.
        hidden_nta = torch.tanh(tapes.keys_nta + query_na[:, None])
        weights_nt = (hidden_nta * self.v_a).sum(dim=-1).softmax(dim=-1)
        recalled_nw = (weights_nt[:, :, None] * tapes.written_ntw).sum(dim=1)
        return LayerState(*recalled_nw.chunk(2, dim=-1)), weights_nt

    def _write(self, tapes: Tapes, state: LayerState) -> Tapes:
        """The tapes with one more place."""
        hidden_nd, cell_nd = state
        assert cell_nd is not None
        place_n1w = torch.cat([hidden_nd, cell_nd], dim=-1)[:, None]
        key_n1a = linear(hidden_nd, self.key_weight_ad)[:, None]
        return tapes._replace(
            written_ntw=torch.cat([tapes.written_ntw, place_n1w], dim=1),
            keys_nta=torch.cat([tapes.keys_nta, key_n1a], dim=1),
            hidden_nd=hidden_nd,
        )


def weight_matrix(weights: Sequence[Float[Tensor, "n _"]]) -> Float[Tensor, "n t t"]:
    """The weights of each step, from the first on, as rows; zero where nothing was written yet."""
    steps = len(weights)
    return torch.stack([pad(row, (0, steps - row.size(1))) for row in weights], dim=1)
