"""Decoder of Bahdanau et al. 2014: attention before the recurrence."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Positive, Probability
from nmt.model.attention.mechanism import AttentionFactory, AttentionMemory
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentState, RecurrentStep
from nmt.model.interfaces import Encoded, SourceSizes
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.dropout import dropout as drop
from nmt.model.layers.linear import ConcatLinear
from nmt.model.layers.stack import RecurrentStack
from nmt.model.recurrence.spec import AttentionOrder, RecurrenceSpec, build_spec
from nmt.registry import DECODERS


@DECODERS.register("bahdanau")
class BahdanauDecoder(RecurrentDecoder):
    """Recurrent decoder that attends before it updates its state. Bahdanau et al. 2014.

    c_i = attend(s_{i-1}), section 3.1, and s_i = f(s_{i-1}, y_{i-1}, c_i). f is an LSTM by default,
    where the paper has a gated recurrent unit. The deep output is the maxout of U s_i + V y_{i-1} +
    C c_i over pairs, appendix A.2.2, with s_i where the appendix has s_{i-1}; without it, the
    output layer reads [s_i; c_i; y_{i-1}].

    Args:
        hidden_size: units per layer
        layers: recurrent layers; the top layer attends, the context enters the bottom layer
        cell: type of the layers; gru is that of Cho et al. 2014
        dropout: dropout rate between layers and before the output layer
        initial_state: computed from the encoder's final state (bridge), copied from it (last), or
            zero
        deep_output: whether a maxout layer precedes the output layer
        readout_size: width of the maxout layer (default: width of the embedding)
    """

    supports_fused = True

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        *,
        hidden_size: Positive = 512,
        layers: Positive = 1,
        cell: Literal["lstm", "gru"] = "lstm",
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
        deep_output: bool = True,
        readout_size: Positive | None = None,
    ) -> None:
        super().__init__()
        if readout_size and not deep_output:
            raise ValueError("readout_size is the deep output's, and deep_output is false")
        self.attention = attention(hidden_size)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        self.stack = RecurrentStack(
            cell, embedding_size, source.annotation, hidden_size, layers, dropout
        )
        self.dropout = dropout
        seen_sizes = (hidden_size, source.annotation, embedding_size)
        self.output_size = (readout_size or embedding_size) if deep_output else sum(seen_sizes)
        self.readout = (
            ConcatLinear.like_torchs(seen_sizes, 2 * self.output_size) if deep_output else None
        )
        self.supports_fused &= self.stack.supports_fused and self.attention.supports_fused

    def start(self, source: Encoded) -> tuple[AttentionMemory, RecurrentState]:
        memory = self.attention.prepare(source)
        return memory, RecurrentState(self.bridge(source), self.attention.start(memory), ())

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes gates"]:
        return self.stack.bottom.project(embedded)

    def advance(
        self, projected_ng: Float[Tensor, "n gates"], memory: AttentionMemory, state: RecurrentState
    ) -> RecurrentStep:
        query_nd = state.layers[-1].hidden_nd
        attended = self.attention.attend(query_nd, memory, state.attention)
        hidden_nd, layers = self.stack.step(projected_ng, state.layers, attended.context_ne)
        return RecurrentStep(
            (hidden_nd, attended.context_ne),
            attended.weights_ns,
            RecurrentState(layers, attended.state, ()),
            attended.auxiliary,
        )

    def recurrence_spec(self, memory: AttentionMemory, state: RecurrentState) -> RecurrenceSpec:
        return build_spec(
            self.stack.layers,
            state.layers,
            self.attention,
            memory,
            order=AttentionOrder.BEFORE,
            dropout=self.dropout if self.training else 0.0,
        )

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *seen: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        if self.readout is None:
            output = torch.cat([*seen, embedded], dim=-1)
        else:
            output = maxout(self.readout(*seen, embedded))
        return drop(output, self.dropout, self.training)


def maxout(pairs: Float[Tensor, "*axes pairs"]) -> Float[Tensor, "*axes d"]:
    """Return the larger one of each pair of neighboring units. Goodfellow et al. 2013."""
    output: Tensor = pairs.unflatten(-1, (-1, 2)).amax(dim=-1)  # type: ignore[no-untyped-call]
    return output
