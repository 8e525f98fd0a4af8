"""The decoder of Bahdanau et al. 2014: attention before the recurrence."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.model.attention.mechanism import AttentionFactory, AttentionMemory
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentState, RecurrentStep
from nmt.model.interfaces import Encoded, SourceSizes
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.linear import ConcatLinear
from nmt.model.layers.recurrent_stack import LayerOptions, RecurrentStack
from nmt.model.recurrence.spec import AttentionOrder, RecurrenceSpec, build_spec
from nmt.registry import DECODERS


@DECODERS.register("bahdanau")
class BahdanauDecoder(RecurrentDecoder[AttentionMemory, RecurrentState]):
    """Recurrent decoder that attends before it updates its state. Bahdanau et al. 2014.

    With the embedding y_{i-1} of the previous token and the annotations h of the source:

        c_i = attend(s_{i-1}, h)                    context (section 3.1)
        s_i = f(s_{i-1}, y_{i-1}, c_i)              recurrent layers
        t_i = maxout(U s_i + V y_{i-1} + C c_i)     deep output (appendix A.2.2)

    f is an LSTM by default; the paper has a gated recurrent unit. The deep output reads s_i; the
    paper has s_{i-1}. Without the deep output, t_i = [s_i; c_i; y_{i-1}].

    Args:
        hidden_size: width of a layer
        layers: number of recurrent layers; the context enters the bottom layer, and the state of
            the top layer is the query
        cell: type of the layers; gru is that of Cho et al. 2014
        layer_norm: whether the gates of a layer are normalized; Ba et al. 2016
        zoneout: probability that a hidden unit keeps its value; Krueger et al. 2017
        zoneout_cell: the same probability of a unit of the cell
        weight_dropout: dropout rate of recurrent weights; Merity et al. 2018
        dropout: dropout rate between layers and before the output layer
        initial_state: s_0 from the encoder: a projection of its final state, its last states, or
            zero
        deep_output: whether a maxout layer precedes the output layer
        readout_size: width of the maxout layer (default: the width of an embedding)
    """

    supports_fused = True

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        *,
        hidden_size: Size = 512,
        layers: Count = 1,
        cell: Literal["lstm", "gru"] = "lstm",
        layer_norm: bool = False,
        zoneout: Probability = 0.0,
        zoneout_cell: Probability = 0.0,
        weight_dropout: Probability = 0.0,
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
        deep_output: bool = True,
        readout_size: Size | None = None,
    ) -> None:
        super().__init__()
        if readout_size and not deep_output:
            raise ValueError("readout_size has no effect with deep_output: false; remove it")
        self.attention = attention(hidden_size)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        options = LayerOptions(cell, layer_norm, zoneout, zoneout_cell, weight_dropout)
        self.stack = RecurrentStack(
            options, embedding_size, source.annotation, hidden_size, layers, dropout
        )
        self.dropout = dropout
        sizes = (hidden_size, source.annotation, embedding_size)  # s_i, c_i, y_{i-1}
        self.readout: ConcatLinear | None = None
        self.output_size = sum(sizes)
        if deep_output:
            self.output_size = readout_size or embedding_size
            # Maxout halves the width, so the layer has two units per output.
            self.readout = ConcatLinear.with_default_init(sizes, 2 * self.output_size)
        # The class attribute is False in a subclass that overrides `advance`; see `FusedSupport`.
        self.supports_fused &= self.stack.supports_fused and self.attention.supports_fused

    def start(self, source: Encoded) -> tuple[AttentionMemory, RecurrentState]:
        # Keys and values are constant for a sentence, so U h_j is computed here, once.
        memory = self.attention.prepare(source)
        return memory, RecurrentState(self.bridge(source), self.attention.start(memory), ())

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes g"]:
        return self.stack.bottom.project(embedded)

    def advance(
        self, projected_ng: Float[Tensor, "n g"], memory: AttentionMemory, state: RecurrentState
    ) -> RecurrentStep[RecurrentState]:
        # The query is s_{i-1}, the state before this step: attention comes first.
        query_nd = state.layers[-1].hidden_nd
        attended = self.attention.attend(query_nd, memory, state.attention)
        # The projection of y_{i-1} is in the gates already; the context is the feedback c_i.
        hidden_nd, layers = self.stack.step(projected_ng, state.layers, attended.context_ne)
        return RecurrentStep(
            # The readout needs s_i and c_i; y_{i-1} comes from the embeddings.
            (hidden_nd, attended.context_ne),
            attended.weights_ns,
            RecurrentState(layers, attended.state, ()),
            attended.auxiliary,
        )

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *readout_inputs: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        hidden, context = readout_inputs
        if self.readout is None:
            output = torch.cat([hidden, context, embedded], dim=-1)
        else:
            # U s_i + V y_{i-1} + C c_i as one product of [s_i; c_i; y_{i-1}].
            output = maxout(self.readout(hidden, context, embedded))
        return apply_dropout(output, self.dropout, self.training)

    def recurrence_spec(self, memory: AttentionMemory, state: RecurrentState) -> RecurrenceSpec:
        return build_spec(
            self.stack.layers,
            state.layers,
            self.attention,
            memory,
            order=AttentionOrder.BEFORE,
            # Only between layers; the dropout before the output layer is a part of the readout.
            dropout=self.dropout if self.training else 0.0,
        )


def maxout(pairs: Float[Tensor, "*axes x"]) -> Float[Tensor, "*axes d"]:
    """Return the larger one of each pair of neighboring units. Goodfellow et al. 2013."""
    output: Tensor = pairs.unflatten(-1, (-1, 2)).amax(dim=-1)  # type: ignore[no-untyped-call]
    return output
