"""LSTMN decoder of Cheng et al. 2016."""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.model.attention.mechanism import AttentionFactory, AttentionMemory, AttentionStep
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentStep
from nmt.model.interfaces import Encoded, SourceSizes
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.dropout import dropout as drop
from nmt.model.layers.lstmn import LSTMNLayer, Tapes, weight_matrix
from nmt.registry import DECODERS


class LSTMNMemory(NamedTuple):
    """What attention may read of a sentence, and in deep fusion its memory tape."""

    attention: AttentionMemory
    cells: tuple[Float[Tensor, "b s e"], ...]


class LSTMNState(NamedTuple):
    """What one hypothesis remembers; `input_feed` is the last context where that asks."""

    tapes: Tapes
    attention: Any
    input_feed: tuple[Float[Tensor, "n e"], ...]


@DECODERS.register("lstmn")
class LSTMNDecoder(RecurrentDecoder):
    """LSTMN decoder: an LSTM with attention over its past states. Cheng et al. 2016, section 4.

    It attends to the source, with weights p_j and the context γ~_t = Σ_j p_j γ_j of the annotations
    γ, and then updates its state, attending to its tapes, which start with the initial state. In
    shallow fusion, γ~_t is concatenated with the input, x_t = [y_{t-1}; γ~_t]. In deep fusion, the
    same weights apply to the source's memory tape α instead: c_t = r_t∘α~_t + f_t∘c~_t + i_t∘c^_t
    with α~_t = Σ_j p_j α_j and r_t = σ(W_r [γ~_t; x_t]). The readout is that of Bahdanau et al.
    2014.

    Args:
        hidden_size: units of the layer; in deep fusion the width of the source's memory tape
        attention_size: width of the alignment layer of intra-attention (default: hidden_size)
        fusion: how the source enters the state
        query: query of the attention to the source: h_{t-1} (state), or [x_t; γ~_{t-1}] (input) as
            in the paper's deep fusion
        dropout: dropout rate before the output layer
        initial_state: computed from the encoder's final state (bridge), copied from it (last), or
            zero
        deep_output: whether a maxout layer precedes the output layer
        readout_size: width of the maxout layer (default: width of the embedding)
    """

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        *,
        hidden_size: Positive = 512,
        attention_size: Positive | None = None,
        fusion: Literal["shallow", "deep"] = "shallow",
        query: Literal["state", "input"] = "state",
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
        deep_output: bool = True,
        readout_size: Positive | None = None,
    ) -> None:
        super().__init__()
        if readout_size and not deep_output:
            raise ValueError("readout_size is the deep output's, and deep_output is false")
        self.deep, self.asks_with_input = fusion == "deep", query == "input"
        if self.deep:
            _require_tape(source, hidden_size)
        context_size = source.annotation
        query_size = embedding_size + context_size if self.asks_with_input else hidden_size
        self.attention = attention(query_size)
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
        self.projected_sizes = [
            self.layer.projected_size,
            hidden_size if self.deep else 0,
            embedding_size if self.asks_with_input else 0,
        ]
        self.context_size, self.dropout = context_size, dropout
        seen_size = hidden_size + context_size + embedding_size
        self.output_size = (readout_size or embedding_size) if deep_output else seen_size
        self.readout = nn.Linear(seen_size, 2 * self.output_size) if deep_output else None

    def start(self, source: Encoded) -> tuple[LSTMNMemory, LSTMNState]:
        memory = self.attention.prepare(source)
        (first,) = self.bridge(source)
        cells: tuple[Tensor, ...] = ()
        if self.deep:
            assert source.cells_bse is not None, "an encoder that has a tape hands it out"
            cells = (source.cells_bse,)
        fed: tuple[Tensor, ...] = ()
        if self.asks_with_input:
            fed = (source.states_bse.new_zeros(source.states_bse.size(0), self.context_size),)
        state = LSTMNState(self.layer.begin(first), self.attention.start(memory), fed)
        return LSTMNMemory(memory, cells), state

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes gates"]:
        """The layer's part; then that of r_t in deep fusion; then the input where it asks."""
        parts = [self.layer.project(embedded)]
        parts += [self.carry_input(embedded)] if self.deep else []
        parts += [embedded] if self.asks_with_input else []
        return torch.cat(parts, dim=-1)

    def advance(
        self, projected_ng: Float[Tensor, "n gates"], memory: LSTMNMemory, state: LSTMNState
    ) -> RecurrentStep:
        parts = torch.split(projected_ng, self.projected_sizes, dim=-1)
        projected_ng, carry_nd, input_nm = parts
        query_nq = state.tapes.hidden_nd
        if self.asks_with_input:
            query_nq = torch.cat([input_nm, *state.input_feed], dim=-1)
        look = self.attention.attend(query_nq, memory.attention, state.attention)
        if self.deep:
            carried_nd = self._carried(carry_nd, look, *memory.cells)
            tapes = self.layer.step(projected_ng, state.tapes, carried_nd=carried_nd)
        else:
            tapes = self.layer.step(projected_ng, state.tapes, look.context_ne)
        fed = (look.context_ne,) if self.asks_with_input else ()
        state = LSTMNState(tapes, look.state, fed)
        return RecurrentStep(
            (tapes.hidden_nd, look.context_ne), look.weights_ns, state, look.auxiliary
        )

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *seen: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        output = torch.cat([*seen, embedded], dim=-1)
        if self.readout is not None:
            output = self.readout(output).unflatten(-1, (-1, 2)).amax(dim=-1)
        return drop(output, self.dropout, self.training)

    def intra_weights(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded
    ) -> Float[Tensor, "b t t"]:
        """Where each step (row) recalled from, while a known target was read.

        The first column is the initial state, the next one the first step.
        """
        memory, state = self.start(source)
        weights = []
        for projected_bg in self.project(embedded_btm).unbind(dim=1):
            state = self.advance(projected_bg, memory, state).state
            weights.append(state.tapes.weights_nt)
        return weight_matrix(weights)

    def _carried(
        self, carry_nd: Float[Tensor, "n d"], look: AttentionStep, cells_bsd: Float[Tensor, "b s d"]
    ) -> Float[Tensor, "n d"]:
        """r_t∘α~_t, from the input's part of r_t."""
        weights_bks = look.weights_ns.view(cells_bsd.size(0), -1, cells_bsd.size(1))
        read_nd = (weights_bks @ cells_bsd).flatten(0, 1)
        return torch.sigmoid(carry_nd + self.carry_context(look.context_ne)) * read_nd


def _require_tape(source: SourceSizes, hidden_size: int) -> None:
    """Raise ValueError unless the source has a memory tape that fits into the decoder's cells."""
    if not source.tape:
        raise ValueError(
            "fusion 'deep' reads the source's memory tape, and this encoder keeps none; use the "
            "encoder 'lstmn' or 'shallow'"
        )
    if source.annotation != hidden_size:
        raise ValueError(
            f"fusion 'deep' adds cells of width {source.annotation} to a decoder's of "
            f"{hidden_size}; make them equal or use 'shallow'"
        )
