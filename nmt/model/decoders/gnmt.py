"""GNMT decoder of Wu et al. 2016: attention in the bottom layer."""

from collections.abc import Callable, Iterable
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.model.attention.mechanism import AttentionFactory, AttentionMemory
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentState, RecurrentStep
from nmt.model.interfaces import DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.cell import LayerState, RecurrentLayer
from nmt.model.layers.dropout import dropout as drop
from nmt.model.layers.stack import CELLS
from nmt.model.recurrence.spec import AttentionOrder, RecurrenceSpec, build_spec
from nmt.registry import DECODERS

Move = Callable[[RecurrentLayer, Tensor, Tensor, LayerState], tuple[Tensor, LayerState]]
"""(layer, inputs, context, state) -> the layer's output and new state, for one step or for all."""


@DECODERS.register("gnmt")
class GNMTDecoder(RecurrentDecoder):
    """GNMT decoder: the bottom layer attends for all layers. Wu et al. 2016, section 3.

    a_i = attend(x^1_{i-1}), eq. 4, with the bottom layer's previous output; then every layer is
    updated with [x^{l-1}_i; a_i], and from the third layer on x^l_i = h^l_i + x^{l-1}_i, eq. 6. The
    output layer reads the x of the top layer. Only the bottom layer depends on attention: with
    known targets, each layer above it is computed for all positions at once, where the paper runs
    the layers on GPUs of their own, figure 1. This is the order of `gnmt` in TensorFlow's tutorial;
    its `gnmt_v2` passes a_{i+1} to the upper layers.

    Args:
        hidden_size: units per layer; 1024 in the paper
        layers: number of layers, at least 2; 8 in the paper
        cell: type of the layers; gru is that of Cho et al. 2014
        dropout: dropout rate between layers and before the output layer; the residual connections
            have no dropout
        initial_state: computed from the encoder's final state (bridge), copied from it (last), or
            zero; the first query is the initial state of the bottom layer
        residual: whether a layer's input is added to its output, from the third layer on
    """

    supports_fused = True

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        *,
        hidden_size: Positive = 512,
        layers: Positive = 4,
        cell: Literal["lstm", "gru"] = "lstm",
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
        residual: bool = True,
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(
                "a layer that looks under others makes 2 layers at least; give more layers or use "
                "the decoder 'bahdanau'"
            )
        if layers < 3 and not residual:
            raise ValueError("residual links start at the third layer; remove residual")
        self.attention = attention(hidden_size)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        self.bottom = CELLS[cell](embedding_size, hidden_size, source.annotation)
        entering_sizes = (hidden_size, source.annotation)
        self.upper = nn.ModuleList(
            CELLS[cell](entering_sizes, hidden_size) for _ in range(1, layers)
        )
        self.dropout, self.residual = dropout, residual
        self.output_size = hidden_size
        self.supports_fused &= self.bottom.supports_fused and self.attention.supports_fused

    def start(self, source: Encoded) -> tuple[AttentionMemory, RecurrentState]:
        memory = self.attention.prepare(source)
        return memory, RecurrentState(self.bridge(source), self.attention.start(memory), ())

    @property
    def _above(self) -> list[RecurrentLayer]:
        # torch types the elements of a ModuleList as Module, whatever they are.
        return cast(list[RecurrentLayer], list(self.upper))

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes gates"]:
        return self.bottom.project(embedded)

    def advance(
        self, projected_ng: Float[Tensor, "n gates"], memory: AttentionMemory, state: RecurrentState
    ) -> RecurrentStep:
        """Look and move the bottom layer; the others stay where they are."""
        below, *upper = state.layers
        look = self.attention.attend(below.hidden_nd, memory, state.attention)
        below = self.bottom.step(projected_ng, below, look.context_ne)
        state = RecurrentState((below, *upper), look.state, ())
        return RecurrentStep(
            (below.hidden_nd, look.context_ne), look.weights_ns, state, look.auxiliary
        )

    def recurrence_spec(self, memory: AttentionMemory, state: RecurrentState) -> RecurrenceSpec:
        states = state.layers[:1]
        order = AttentionOrder.BEFORE
        return build_spec([self.bottom], states, self.attention, memory, order=order)

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *seen: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        return drop(seen[0], self.dropout, self.training)

    def step(
        self, embedded_nm: Float[Tensor, "n m"], memory: AttentionMemory, state: RecurrentState
    ) -> StepOutput:
        moved = self.advance(self.project(embedded_nm), memory, state)
        (hidden_nd, context_ne), (below, *upper) = moved.readout_inputs, moved.state.layers
        top_nd, climbed = self._climb(_one_step, hidden_nd, context_ne, upper)
        output_nd = self.read_out(embedded_nm, top_nd)
        return StepOutput(
            output_nd, moved.weights_ns, moved.state._replace(layers=(below, *climbed))
        )

    def forward(self, embedded_btm: Float[Tensor, "b t m"], source: Encoded) -> DecoderOutput:
        memory, state = self.start(source)
        embedded_tbm = embedded_btm.transpose(0, 1)
        seen, auxiliary = self.unroll(self.project(embedded_tbm), memory, state)
        hidden_tbd, context_tbe = seen
        top_tbd, _ = self._climb(_all_steps, hidden_tbd, context_tbe, state.layers[1:])
        output_tbd = self.read_out(embedded_tbm, top_tbd)
        return DecoderOutput(
            output_tbd.transpose(0, 1), tuple(part.transpose(0, 1) for part in auxiliary)
        )

    def _climb(
        self,
        move: Move,
        hidden: Float[Tensor, "*axes d"],
        context: Float[Tensor, "*axes e"],
        states: Iterable[LayerState],
    ) -> tuple[Float[Tensor, "*axes d"], list[LayerState]]:
        """The top output and the upper layers' new states, from what `advance` handed out."""
        climbed = []
        every = zip(self._above, states, strict=True)
        for number, (layer, state) in enumerate(every, start=2):
            below = drop(hidden, self.dropout, self.training)
            moved, state = move(layer, below, context, state)
            hidden = moved + hidden if self.residual and number > 2 else moved
            climbed.append(state)
        return hidden, climbed


def _one_step(
    layer: RecurrentLayer,
    below_nd: Float[Tensor, "n d"],
    context_ne: Float[Tensor, "n e"],
    state: LayerState,
) -> tuple[Float[Tensor, "n d"], LayerState]:
    state = layer.step(layer.project(below_nd, context_ne), state)
    return state.hidden_nd, state


def _all_steps(
    layer: RecurrentLayer,
    below_tnd: Float[Tensor, "t n d"],
    context_tne: Float[Tensor, "t n e"],
    state: LayerState,
) -> tuple[Float[Tensor, "t n d"], LayerState]:
    return layer.sequence(torch.cat([below_tnd, context_tne], dim=-1), state)
