"""The decoder of Wu et al. 2016: the bottom layer attends for all layers."""

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.model.attention.mechanism import AttentionFactory, AttentionMemory
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentState, RecurrentStep
from nmt.model.interfaces import DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.recurrent import LayerState, RecurrentLayer
from nmt.model.layers.recurrent_stack import LayerOptions, Layers
from nmt.model.recurrence.spec import AttentionOrder, RecurrenceSpec, build_spec
from nmt.registry import DECODERS

RunLayer = Callable[[RecurrentLayer, Tensor, Tensor, LayerState], tuple[Tensor, LayerState]]
"""(layer, inputs, context, state) -> outputs and new state, for one step or for all steps."""


@DECODERS.register("gnmt")
class GNMTDecoder(RecurrentDecoder[AttentionMemory, RecurrentState]):
    """GNMT decoder: the bottom layer attends for all layers. Wu et al. 2016, section 3.

        a_i   = attend(x^1_{i-1})                    eq. 4, with the bottom layer's last output
        h^l_i = LSTM_l([x^{l-1}_i; a_i], h^l_{i-1})  x^0 is the embedding
        x^l_i = h^l_i + x^{l-1}_i                    eq. 6, from the third layer on

    The output layer reads the top x. Only the bottom layer depends on attention of the previous
    step: in teacher forcing the upper layers run over all positions at once, where the paper runs
    them on GPUs of their own, figure 1. This is the order of `gnmt` in TensorFlow's tutorial; its
    `gnmt_v2` gives a_{i+1} to the upper layers.

    Args:
        hidden_size: width of a layer; 1024 in the paper
        layers: number of layers, at least 2; 8 in the paper
        cell: type of the layers; gru is that of Cho et al. 2014
        layer_norm: whether the gates of a layer are normalized; Ba et al. 2016
        zoneout: probability that a hidden unit keeps its value; Krueger et al. 2017
        zoneout_cell: the same probability of a unit of the cell
        weight_dropout: dropout rate of recurrent weights; Merity et al. 2018
        dropout: dropout rate between layers and before the output layer; the addend of a residual
            connection is not dropped
        initial_state: initial states from the encoder: a projection of its final state, its last
            states, or zero
        residual: whether the input of a layer is added to its output, from the third layer on
    """

    supports_fused = True

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        *,
        hidden_size: Size = 512,
        layers: Count = 4,
        cell: Literal["lstm", "gru"] = "lstm",
        layer_norm: bool = False,
        zoneout: Probability = 0.0,
        zoneout_cell: Probability = 0.0,
        weight_dropout: Probability = 0.0,
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
        residual: bool = True,
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError("requires at least 2 layers; add layers or use decoder 'bahdanau'")
        if layers < 3 and not residual:
            raise ValueError("residual has no effect with fewer than 3 layers; remove it")
        self.attention = attention(hidden_size)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        # The context of a step depends on this layer's last output, so it enters as feedback.
        options = LayerOptions(cell, layer_norm, zoneout, zoneout_cell, weight_dropout)
        self.bottom = options.layer(embedding_size, hidden_size, source.annotation)
        # The input of an upper layer is [x^{l-1}_i; a_i].
        upper_sizes = (hidden_size, source.annotation)
        self.upper = Layers(options.layer(upper_sizes, hidden_size) for _ in range(1, layers))
        self.dropout, self.residual = dropout, residual
        self.output_size = hidden_size
        self.supports_fused &= self.bottom.supports_fused and self.attention.supports_fused

    def start(self, source: Encoded) -> tuple[AttentionMemory, RecurrentState]:
        memory = self.attention.prepare(source)
        return memory, RecurrentState(self.bridge(source), self.attention.start(memory), ())

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes g"]:
        return self.bottom.project(embedded)

    def advance(
        self, projected_ng: Float[Tensor, "n g"], memory: AttentionMemory, state: RecurrentState
    ) -> RecurrentStep[RecurrentState]:
        """Attend and update the bottom layer; the states of the upper layers are unchanged."""
        # The query is x^1_{i-1}, the last output of the bottom layer.
        bottom, *upper = state.layers
        attended = self.attention.attend(bottom.hidden_nd, memory, state.attention)
        # Only this layer feeds attention at the next step, eq. 4.
        bottom = self.bottom.step(projected_ng, bottom, attended.context_ne)
        return RecurrentStep(
            (bottom.hidden_nd, attended.context_ne),
            attended.weights_ns,
            RecurrentState((bottom, *upper), attended.state, ()),
            attended.auxiliary,
        )

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *readout_inputs: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        # The output of the top layer alone: context and embedding have entered further down.
        return apply_dropout(readout_inputs[0], self.dropout, self.training)

    def step(
        self, embedded_nm: Float[Tensor, "n m"], memory: AttentionMemory, state: RecurrentState
    ) -> StepOutput[RecurrentState]:
        step = self.advance(self.project(embedded_nm), memory, state)
        (hidden_nd, context_ne), (bottom, *upper) = step.readout_inputs, step.state.layers
        # The states of the upper layers in `step.state` are those before this step.
        top_nd, upper = self._run_upper(_run_step, hidden_nd, context_ne, upper)
        output_nd = self.read_out(embedded_nm, top_nd)
        return StepOutput(output_nd, step.weights_ns, step.state._replace(layers=(bottom, *upper)))

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded, *, need_weights: bool = False
    ) -> DecoderOutput:
        memory, state = self.start(source)
        embedded_tbm = embedded_btm.transpose(0, 1)
        projected_tbg = self.project(embedded_tbm)
        steps = self.unroll(projected_tbg, memory, state, need_weights=need_weights)
        hidden_tbd, context_tbe = steps.readout_inputs
        # After the loop over the bottom layer all contexts are known: one sequence per layer.
        top_tbd, _ = self._run_upper(_run_sequence, hidden_tbd, context_tbe, state.layers[1:])
        return steps.output(self.read_out(embedded_tbm, top_tbd))

    def _run_upper(
        self,
        run: RunLayer,
        hidden: Float[Tensor, "*axes d"],
        context: Float[Tensor, "*axes e"],
        states: Iterable[LayerState],
    ) -> tuple[Float[Tensor, "*axes d"], list[LayerState]]:
        """Run the upper layers; return the output of the top layer and all new states."""
        new_states = []
        for number, (layer, state) in enumerate(zip(self.upper, states, strict=True), start=2):
            # x^{l-1}_i
            inputs = apply_dropout(hidden, self.dropout, self.training)
            output, state = run(layer, inputs, context, state)
            # The residual connection skips dropout, which applies to the input of the layer alone.
            hidden = output + hidden if self.residual and number > 2 else output
            new_states.append(state)
        return hidden, new_states

    def recurrence_spec(self, memory: AttentionMemory, state: RecurrentState) -> RecurrenceSpec:
        # Only the bottom layer is part of the loop; the upper layers follow it.
        states = state.layers[:1]
        order = AttentionOrder.BEFORE
        return build_spec([self.bottom], states, self.attention, memory, order=order)


def _run_step(
    layer: RecurrentLayer,
    inputs_nd: Float[Tensor, "n d"],
    context_ne: Float[Tensor, "n e"],
    state: LayerState,
) -> tuple[Float[Tensor, "n d"], LayerState]:
    # W [x^{l-1}_i; a_i] as one product; nothing is fed back.
    state = layer.step(layer.project(inputs_nd, context_ne), state)
    return state.hidden_nd, state


def _run_sequence(
    layer: RecurrentLayer,
    inputs_tnd: Float[Tensor, "t n d"],
    context_tne: Float[Tensor, "t n e"],
    state: LayerState,
) -> tuple[Float[Tensor, "t n d"], LayerState]:
    # torch runs the whole sequence, projection included.
    return layer.sequence(torch.cat([inputs_tnd, context_tne], dim=-1), state)
