"""The decoder of Cheng et al. 2016: attention to the source and to its own past states."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.component_spec import Probability, Size
from nmt.model.attention.mechanism import (
    AttentionFactory,
    AttentionMemory,
    AttentionState,
    AttentionStep,
)
from nmt.model.decoders.bahdanau import maxout
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentStep
from nmt.model.interfaces import Encoded, SourceSizes
from nmt.model.layers.arithmetic import TORCH_ARITHMETIC, Arithmetic
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.lstmn import MEMORY_TAPE, LSTMNLayer, Tapes, weight_matrix
from nmt.registry import DECODERS


class LSTMNMemory(NamedTuple):
    """Memory of the attention and, in deep fusion, the memory tape of the source."""

    attention: AttentionMemory
    cells: tuple[Float[Tensor, "b s d"], ...]


class LSTMNState(NamedTuple):
    """State of one hypothesis between two steps.

    Attributes:
        tapes: states of all earlier steps
        attention: state of the attention mechanism
        input_feed: the last context, if the query needs it
    """

    tapes: Tapes
    attention: AttentionState
    input_feed: tuple[Float[Tensor, "n e"], ...]


@DECODERS.register("lstmn")
class LSTMNDecoder(RecurrentDecoder[LSTMNMemory, LSTMNState]):
    """LSTMN decoder: an LSTM with attention over its past states. Cheng et al. 2016, section 4.

    Attention to the source, with weights p_j and the context γ~_t = Σ_j p_j γ_j of annotations γ,
    comes first. The update then recalls from the tapes, whose first entry is the initial state.

        shallow fusion   x_t = [y_{t-1}; γ~_t]
        deep fusion      x_t = y_{t-1} and c_t = r_t∘α~_t + f_t∘c~_t + i_t∘c^_t, with
                         α~_t = Σ_j p_j α_j over the memory tape α of the source and
                         r_t = σ(W_r [γ~_t; x_t])

    The readout is that of Bahdanau et al. 2014.

    Args:
        hidden_size: width of the layer; in deep fusion the width of the source's memory tape
        attention_size: width of the attention to past states (default: hidden_size)
        fusion: how the source enters the layer
        query: query of the attention to the source: h_{t-1}, or [x_t; γ~_{t-1}] as in the paper's
            deep fusion
        dropout: dropout rate before the output layer
        initial_state: initial state from the encoder: a projection of its final state, its last
            state, or zero
        deep_output: whether a maxout layer precedes the output layer
        readout_size: width of the maxout layer (default: the width of an embedding)
    """

    arithmetic: Arithmetic = TORCH_ARITHMETIC

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        *,
        hidden_size: Size = 512,
        attention_size: Size | None = None,
        fusion: Literal["shallow", "deep"] = "shallow",
        query: Literal["state", "input"] = "state",
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
        deep_output: bool = True,
        readout_size: Size | None = None,
    ) -> None:
        super().__init__()
        if readout_size and not deep_output:
            raise ValueError("readout_size has no effect with deep_output: false; remove it")
        self.deep, self.query_is_input = fusion == "deep", query == "input"
        if self.deep:
            _check_memory_tape(source, hidden_size)
        context_size = source.annotation
        self.attention = attention(
            embedding_size + context_size if self.query_is_input else hidden_size
        )
        self.bridge = Bridge(initial_state, source, hidden_size, 1)
        self.needs_cells = self.bridge.needs_cells
        self.layer = LSTMNLayer(
            embedding_size,
            hidden_size,
            attention_size or hidden_size,
            feedback_size=0 if self.deep else context_size,
        )
        if self.deep:
            self.carry_input = nn.Linear(embedding_size, hidden_size)
            self.carry_context = nn.Linear(context_size, hidden_size, bias=False)
        # Widths of the parts that `project` concatenates.
        self.projected_sizes = [
            self.layer.projected_size,
            hidden_size if self.deep else 0,
            embedding_size if self.query_is_input else 0,
        ]
        self.context_size, self.dropout = context_size, dropout
        readout_input_size = hidden_size + context_size + embedding_size
        self.output_size = (readout_size or embedding_size) if deep_output else readout_input_size
        self.readout = nn.Linear(readout_input_size, 2 * self.output_size) if deep_output else None

    def start(self, source: Encoded) -> tuple[LSTMNMemory, LSTMNState]:
        memory = self.attention.prepare(source)
        # The initial state is the first entry of the tapes, so it can be recalled too.
        (state,) = self.bridge(source)
        cells = (source.extras[MEMORY_TAPE],) if self.deep else ()
        input_feed: tuple[Tensor, ...] = ()
        if self.query_is_input:
            # γ~_0 = 0: before the first step nothing has been attended to.
            input_feed = (source.states_bse.new_zeros(len(source.states_bse), self.context_size),)
        attention = self.attention.start(memory)
        return LSTMNMemory(memory, cells), LSTMNState(
            self.layer.initial_tapes(state), attention, input_feed
        )

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes g"]:
        """Concatenate the projections of the layer and of r_t, and the input of the query."""
        parts = [self.layer.project(embedded)]
        parts += [self.carry_input(embedded)] if self.deep else []
        parts += [embedded] if self.query_is_input else []
        return torch.cat(parts, dim=-1)

    def advance(
        self, projected_ng: Float[Tensor, "n g"], memory: LSTMNMemory, state: LSTMNState
    ) -> RecurrentStep[LSTMNState]:
        # The parts that `project` has concatenated; absent ones have width zero.
        projected_nx, carry_nd, input_nm = torch.split(projected_ng, self.projected_sizes, dim=-1)
        query_nx = state.tapes.hidden_nd
        if self.query_is_input:
            # [x_t; γ~_{t-1}]: the query does not depend on the state.
            query_nx = torch.cat([input_nm, *state.input_feed], dim=-1)
        attended = self.attention.attend(query_nx, memory.attention, state.attention)
        if self.deep:
            # In deep fusion the context does not enter the gates; the cell receives r_t∘α~_t.
            added_nd = self._carried(carry_nd, attended, *memory.cells)
            tapes = self.layer.step(projected_nx, state.tapes, added_nd=added_nd)
        else:
            # In shallow fusion the context is a part of x_t.
            tapes = self.layer.step(projected_nx, state.tapes, attended.context_ne)
        input_feed = (attended.context_ne,) if self.query_is_input else ()
        return RecurrentStep(
            (tapes.hidden_nd, attended.context_ne),
            attended.weights_ns,
            LSTMNState(tapes, attended.state, input_feed),
            attended.auxiliary,
        )

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *readout_inputs: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        output = torch.cat([*readout_inputs, embedded], dim=-1)
        if self.readout is not None:
            output = maxout(self.readout(output))
        return apply_dropout(output, self.dropout, self.training)

    def intra_weights(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded
    ) -> Float[Tensor, "b t t"]:
        """Compute the weights with which each step (row) attends to past states.

        The first column is the initial state, the second one the first step.
        """
        memory, state = self.start(source)
        # Step by step, because the weights serve plots and not training.
        weights = []
        for projected_bg in self.project(embedded_btm).unbind(dim=1):
            state = self.advance(projected_bg, memory, state).state
            weights.append(state.tapes.weights_nt)
        return weight_matrix(weights)

    def _carried(
        self,
        carry_nd: Float[Tensor, "n d"],
        attended: AttentionStep,
        cells_bsd: Float[Tensor, "b s d"],
    ) -> Float[Tensor, "n d"]:
        """Compute r_t∘α~_t from the projection of r_t."""
        # α~_t uses the weights p_j of attention to the annotations.
        weights_bks = attended.weights_ns.view(cells_bsd.size(0), -1, cells_bsd.size(1))
        # One tape per sentence serves all its hypotheses.
        cell_nd = self.arithmetic.context(weights_bks, cells_bsd).flatten(0, 1)
        carry_nd = carry_nd + self.carry_context(attended.context_ne)
        return self.arithmetic.sigmoid(carry_nd) * cell_nd


def _check_memory_tape(source: SourceSizes, hidden_size: int) -> None:
    """Raise ValueError unless the source has a memory tape as wide as the decoder's cells."""
    width = source.extras.get(MEMORY_TAPE)
    if width is None:
        raise ValueError(
            "fusion 'deep' requires an encoder with a memory tape; use encoder 'lstmn' or 'shallow'"
        )
    if width != hidden_size:
        raise ValueError(
            f"fusion 'deep' adds cells of width {width} to those of the decoder, of width "
            f"{hidden_size}; make them equal or use 'shallow'"
        )
