"""The long short-term memory-network: an LSTM that attends to its own past states."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.model.layers.arithmetic import TORCH_ARITHMETIC, Arithmetic
from nmt.model.layers.linear import orthogonal_gates, xavier, xavier_gates
from nmt.model.layers.recurrent import LayerState, LSTMLayer, compute_dtype, lstm_cell

MEMORY_TAPE = "memory_tape"
"""Name of the encoder's memory tape among the extras of a source.

`Encoded.extras` has the cells of all source positions, cells_bse, zero in padding;
`SourceSizes.extras` has their width.
"""


class Tapes(NamedTuple):
    """State of a layer: tapes that grow by one entry per step.

    Attributes:
        entries_ntx: hidden tape and memory tape, concatenated: [h_i; c_i]
        keys_nta: W_h h_i of every entry
        hidden_nd: h of the last entry, zero before the first one
        query_na: W_h~ h~ of the last step
        weights_nt: attention weights s of the last step
    """

    entries_ntx: Float[Tensor, "n t x"]
    keys_nta: Float[Tensor, "n t a"]
    hidden_nd: Float[Tensor, "n d"]
    query_na: Float[Tensor, "n a"]
    weights_nt: Float[Tensor, "n t2"]


class LSTMNLayer(nn.Module):
    """An LSTM whose state is a weighted sum of its past states. Cheng et al. 2016, section 3.2.

    s_i = softmax_i(v·tanh(W_h h_i + W_x x_t + W_h~ h~_{t-1})) over all entries i before t, and
    [h~_t; c~_t] = Σ_i s_i [h_i; c_i], zero without entries. Then i, f, o = σ(·) and
    g = tanh(·) of W [h~_t; x_t] + b, c_t = f∘c~_t + i∘g and h_t = o∘tanh(c_t). Feedback is the part
    of x_t that is known only at step t.

    Args:
        input_size: width of x_t without feedback
        hidden_size: width of h_t
        attention_size: width of the attention's hidden layer
        feedback_size: width of the feedback; 0 for none
    """

    arithmetic: Arithmetic = TORCH_ARITHMETIC

    def __init__(
        self, input_size: int, hidden_size: int, attention_size: int, feedback_size: int = 0
    ) -> None:
        super().__init__()
        self.hidden_size, self.attention_size = hidden_size, attention_size
        # On top of each other: W of the gates, in the order i, f, g, o, and W of the attention.
        self.input_weight = self._weight(input_size)
        self.feedback_weight = self._weight(feedback_size) if feedback_size else None
        # The recurrent matrix: orthogonal per gate, as in `RecurrentLayer`.
        gates_gd = orthogonal_gates(LSTMLayer.gates, hidden_size)
        self.recalled_weight = _stacked(gates_gd, xavier(attention_size, hidden_size))
        self.key_weight_ad = nn.Parameter(xavier(attention_size, hidden_size))
        self.v_a = nn.Parameter(xavier(1, attention_size)[0])
        self.bias = nn.Parameter(torch.zeros(LSTMLayer.gates * hidden_size))
        with torch.no_grad():
            # As in `LSTMLayer`.
            self.bias[hidden_size : 2 * hidden_size] = 1.0

    def _weight(self, size: int) -> nn.Parameter:
        gates_gm = xavier_gates(LSTMLayer.gates, self.hidden_size, size)
        return _stacked(gates_gm, xavier(self.attention_size, size))

    @property
    def projected_size(self) -> int:
        """Return the width of a projected input."""
        return LSTMLayer.gates * self.hidden_size + self.attention_size

    def project(self, inputs: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes x"]:
        """Compute [W x + b; W_x x] for any number of inputs."""
        bias_x = pad(self.bias, (0, self.attention_size))
        return self.arithmetic.linear(inputs, self.input_weight, bias_x)

    def empty_tapes(self, like_nx: Float[Tensor, "n x"]) -> Tapes:
        """Return tapes without entries, with as many rows as a tensor has."""
        rows, dtype = like_nx.size(0), compute_dtype(like_nx)
        return Tapes(
            entries_ntx=like_nx.new_zeros(rows, 0, 2 * self.hidden_size),
            keys_nta=like_nx.new_zeros(rows, 0, self.attention_size, dtype=dtype),
            hidden_nd=like_nx.new_zeros(rows, self.hidden_size),
            query_na=like_nx.new_zeros(rows, self.attention_size, dtype=dtype),
            weights_nt=like_nx.new_zeros(rows, 0),
        )

    def initial_tapes(self, state: LayerState) -> Tapes:
        """Return tapes whose first entry is a state."""
        return self._append(self.empty_tapes(state.hidden_nd), state)

    def step(
        self,
        projected_nx: Float[Tensor, "n x"],
        tapes: Tapes,
        feedback_nf: Float[Tensor, "n f"] | None = None,
        added_nd: Float[Tensor, "n d"] | None = None,
    ) -> Tapes:
        """Compute the tapes after one step.

        Args:
            projected_nx: projected inputs
            tapes: the tapes before
            feedback_nf: feedback
            added_nd: an addend of c_t
        """
        if feedback_nf is not None:
            assert self.feedback_weight is not None
            fed_nx = self.arithmetic.linear(feedback_nf, self.feedback_weight)
            projected_nx = projected_nx + fed_nx
        sizes = [LSTMLayer.gates * self.hidden_size, self.attention_size]
        gates_ng, query_na = torch.split(projected_nx, sizes, dim=-1)
        # W_x x_t + W_h~ h~_{t-1} + b; the last addend was computed at the last step.
        recalled, weights_nt = self._recall(query_na + tapes.query_na, tapes)
        recalled_nx = self.arithmetic.linear(recalled.hidden_nd, self.recalled_weight)
        # One product gives the gates of this step and the query of the next one.
        recalled_ng, query_na = torch.split(recalled_nx, sizes, dim=-1)
        state = lstm_cell(gates_ng + recalled_ng, recalled, added_nd, self.arithmetic)
        return self._append(tapes._replace(query_na=query_na, weights_nt=weights_nt), state)

    def sequence(
        self, inputs_tnm: Float[Tensor, "t n m"]
    ) -> tuple[Float[Tensor, "t n x"], tuple[Float[Tensor, "n _"], ...]]:
        """Return [h; c] of all steps from empty tapes, and the attention weights of each step."""
        tapes, weights = self.empty_tapes(inputs_tnm[0]), []
        # All inputs are projected at once; only the recurrence is a loop.
        for projected_nx in self.project(inputs_tnm).unbind(0):
            tapes = self.step(projected_nx, tapes)
            weights.append(tapes.weights_nt)
        return tapes.entries_ntx.transpose(0, 1), tuple(weights)

    def _recall(
        self, query_na: Float[Tensor, "n a"], tapes: Tapes
    ) -> tuple[LayerState, Float[Tensor, "n t"]]:
        """Compute h~ and c~, and the weights s."""
        # Sums instead of matrix products, which round a row differently among few rows, and
        # which autocast computes in half precision, where a cell must keep its own.
        # The keys W_h h_i were computed when the entries were appended.
        hidden_nta = torch.tanh(tapes.keys_nta + query_na[:, None])
        weights_nt = (hidden_nta * self.v_a).sum(dim=-1).softmax(dim=-1)
        recalled_nx = (weights_nt[:, :, None] * tapes.entries_ntx).sum(dim=1)
        return LayerState(*recalled_nx.chunk(2, dim=-1)), weights_nt

    def _append(self, tapes: Tapes, state: LayerState) -> Tapes:
        """Add a state at the end of the tapes."""
        hidden_nd, cell_nd = state
        assert cell_nd is not None
        entry_n1x = torch.cat([hidden_nd, cell_nd], dim=-1)[:, None]
        # Once per entry, for all later steps.
        key_n1a = self.arithmetic.linear(hidden_nd, self.key_weight_ad)[:, None]
        return tapes._replace(
            entries_ntx=torch.cat([tapes.entries_ntx, entry_n1x], dim=1),
            keys_nta=torch.cat([tapes.keys_nta, key_n1a], dim=1),
            hidden_nd=hidden_nd,
        )


def weight_matrix(weights: Sequence[Float[Tensor, "n _"]]) -> Float[Tensor, "n t t"]:
    """Stack the attention weights of all steps as rows, zero for entries of later steps."""
    steps = len(weights)
    return torch.stack([pad(row, (0, steps - row.size(1))) for row in weights], dim=1)


def _stacked(gates_gm: Float[Tensor, "g m"], attention_am: Float[Tensor, "a m"]) -> nn.Parameter:
    """Stack the matrices of the gates and of the attention."""
    weight_xm = torch.empty(len(gates_gm) + len(attention_am), gates_gm.size(1))
    # In place of torch.cat, as in `xavier_gates`.
    weight_xm[: len(gates_gm)], weight_xm[len(gates_gm) :] = gates_gm, attention_am
    return nn.Parameter(weight_xm)
