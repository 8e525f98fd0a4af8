"""Base of decoders whose bottom layer attends for all layers."""

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.model.attention.mechanism import AttentionFactory, AttentionMemory
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentState, RecurrentStep
from nmt.model.interfaces import DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.bridge import Bridge, InitialState
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.recurrent import LayerState, RecurrentLayer
from nmt.model.layers.recurrent_stack import LayerOptions, Layers
from nmt.model.recurrence.spec import AttentionOrder, RecurrenceSpec, build_spec

RunLayer = Callable[[RecurrentLayer, Tensor, Tensor, LayerState], tuple[Tensor, LayerState]]
"""(layer, inputs, context, state) -> outputs and new state, for one step or for all steps."""


class DeepDecoder(RecurrentDecoder[AttentionMemory, RecurrentState]):
    """Base of GNMT's and RNMT+'s decoders: the bottom layer attends for all layers.

    Only the bottom layer depends on attention of the previous step. In teacher forcing the upper
    layers therefore run over all positions at once; Wu et al. 2016, figure 1, run them on GPUs of
    their own.

    Args:
        embedding_size: width of y
        source: sizes of the encoder's output
        attention: builds the attention mechanism
        options: options of the layers
        hidden_size: width of a layer
        layers: number of layers
        dropout: dropout rate
        initial_state: see `Bridge`
        residual: whether the input of a layer is added to its output, from the third layer on

    Attributes:
        drops_outputs: whether dropout applies to the outputs of layers, before they are added to
            their inputs; otherwise to the inputs of layers, but not to these as addends
    """

    supports_fused = True
    drops_outputs: ClassVar[bool] = False

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        options: LayerOptions,
        *,
        hidden_size: int,
        layers: int,
        dropout: float,
        initial_state: InitialState,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.attention = attention(hidden_size)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, options.cell)
        self.needs_cells = self.bridge.needs_cells
        # The context of a step depends on this layer's last output, so it enters as feedback.
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

    def step(
        self, embedded_nm: Float[Tensor, "n m"], memory: AttentionMemory, state: RecurrentState
    ) -> StepOutput[RecurrentState]:
        step = self.advance(self.project(embedded_nm), memory, state)
        (hidden_nd, context_ne), (bottom, *upper) = step.readout_inputs, step.state.layers
        # The states of the upper layers in `step.state` are those before this step.
        top_nd, upper = self._run_upper(_run_step, hidden_nd, context_ne, upper)
        output_nd = self.read_out(embedded_nm, top_nd, context_ne)
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
        return steps.output(self.read_out(embedded_tbm, top_tbd, context_tbe))

    def _run_upper(
        self,
        run: RunLayer,
        hidden: Float[Tensor, "*axes d"],
        context: Float[Tensor, "*axes e"],
        states: Iterable[LayerState],
    ) -> tuple[Float[Tensor, "*axes d"], list[LayerState]]:
        """Run the upper layers; return the output of the top layer and all new states."""
        new_states = []
        if self.drops_outputs:
            hidden = apply_dropout(hidden, self.dropout, self.training)
        for number, (layer, state) in enumerate(zip(self.upper, states, strict=True), start=2):
            # x^{l-1}_i; a residual connection skips the dropout of inputs.
            inputs = hidden
            if not self.drops_outputs:
                inputs = apply_dropout(hidden, self.dropout, self.training)
            output, state = run(layer, inputs, context, state)
            if self.drops_outputs:
                output = apply_dropout(output, self.dropout, self.training)
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
