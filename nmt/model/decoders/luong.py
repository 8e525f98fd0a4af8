"""The decoder of Luong et al. 2015: attention after the recurrence."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.component_spec import Count, Probability, Size
from nmt.model.attention.mechanism import AttentionFactory, AttentionMemory
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentState, RecurrentStep
from nmt.model.interfaces import DecoderOutput, Encoded, SourceSizes
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.linear import ConcatLinear
from nmt.model.layers.recurrent_stack import LayerOptions, RecurrentStack
from nmt.model.recurrence.spec import AttentionOrder, InputFeed, RecurrenceSpec, build_spec
from nmt.registry import DECODERS


@DECODERS.register("luong")
class LuongDecoder(RecurrentDecoder[AttentionMemory, RecurrentState]):
    """Recurrent decoder that updates its state before it attends. Luong et al. 2015, eq. 5.

    With the embedding y_{t-1} of the previous token and the annotations h of the source:

        s_t  = f(s_{t-1}, [y_{t-1}; h~_{t-1}])      recurrent layers, with input feeding (3.3)
        c_t  = attend(s_t, h)                       context (section 3.1)
        h~_t = tanh(W [c_t; s_t])                   attentional state, eq. 5

    Without input feeding, nothing depends on attention, and teacher forcing decodes all target
    positions at once.

    Args:
        hidden_size: width of a layer
        layers: number of recurrent layers; the state of the top layer is the query
        cell: type of the layers; gru is that of Cho et al. 2014
        layer_norm: whether the gates of a layer are normalized; Ba et al. 2016
        zoneout: probability that a hidden unit keeps its value; Krueger et al. 2017
        zoneout_cell: the same probability of a unit of the cell
        weight_dropout: dropout rate of recurrent weights; Merity et al. 2018
        dropout: dropout rate between layers and before the output layer
        initial_state: s_0 from the encoder: a projection of its final state, its last states, or
            zero
        input_feeding: whether h~_{t-1} enters the bottom layer
        attentional_output: whether the output layer reads h~_t; otherwise it reads s_t, and
            attention affects only the next step
        attentional_size: width of h~ (default: the width of a layer)
        readout_size: width of a linear layer before the output layer (default: no such layer);
            recommended with tied embeddings, because h~ is bounded to (-1, 1)
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
        input_feeding: bool = True,
        attentional_output: bool = True,
        attentional_size: Size | None = None,
        readout_size: Size | None = None,
    ) -> None:
        super().__init__()
        if not (input_feeding or attentional_output):
            raise ValueError(
                "attention has no effect without input_feeding and attentional_output; set one"
            )
        attentional_size = attentional_size or hidden_size
        # The output layer reads h~_t or, without attentional_output, s_t.
        readout_input_size = attentional_size if attentional_output else hidden_size
        self.attention = attention(hidden_size)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        self.input_feeding, self.attentional_output = input_feeding, attentional_output
        self.attentional_size = attentional_size
        feedback_size = attentional_size if input_feeding else 0
        options = LayerOptions(cell, layer_norm, zoneout, zoneout_cell, weight_dropout)
        self.stack = RecurrentStack(
            options, embedding_size, feedback_size, hidden_size, layers, dropout
        )
        combined_sizes = (source.annotation, hidden_size)  # c_t, s_t
        # W of eq. 5, without a bias as in the paper
        self.combine = ConcatLinear.with_default_init(combined_sizes, attentional_size, bias=False)
        self.readout = nn.Linear(readout_input_size, readout_size) if readout_size else None
        self.output_size = readout_size or readout_input_size
        self.dropout = dropout
        served = self.stack.supports_fused and self.attention.supports_fused
        # Without input feeding the layers do not depend on attention, and no loop is needed.
        self.supports_fused &= served and input_feeding

    def start(self, source: Encoded) -> tuple[AttentionMemory, RecurrentState]:
        memory = self.attention.prepare(source)
        layers = self.bridge(source)
        input_feed: tuple[Tensor, ...] = ()
        if self.input_feeding:
            # h~_0 = 0: attention has no result before the first step.
            final_bx = source.final_state_bx
            input_feed = (final_bx.new_zeros(final_bx.size(0), self.attentional_size),)
        return memory, RecurrentState(layers, self.attention.start(memory), input_feed)

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes g"]:
        return self.stack.bottom.project(embedded)

    def advance(
        self, projected_ng: Float[Tensor, "n g"], memory: AttentionMemory, state: RecurrentState
    ) -> RecurrentStep[RecurrentState]:
        # h~_{t-1} is the feedback of the bottom layer.
        hidden_nd, layers = self.stack.step(projected_ng, state.layers, *state.input_feed)
        # The query is s_t, the state after the update.
        attended = self.attention.attend(hidden_nd, memory, state.attention)
        # eq. 5
        attentional_nd = torch.tanh(self.combine(attended.context_ne, hidden_nd))
        input_feed = (attentional_nd,) if self.input_feeding else ()
        return RecurrentStep(
            (attentional_nd if self.attentional_output else hidden_nd,),
            attended.weights_ns,
            RecurrentState(layers, attended.state, input_feed),
            attended.auxiliary,
        )

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *readout_inputs: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        # h~_t itself is not dropped where it is fed back.
        output = apply_dropout(readout_inputs[0], self.dropout, self.training)
        return output if self.readout is None else self.readout(output)

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded, *, need_weights: bool = False
    ) -> DecoderOutput:
        # A recurrent mechanism, such as one with coverage, needs the weights of the step before.
        if self.input_feeding or self.attention.recurrent:
            return super().forward(embedded_btm, source, need_weights=need_weights)
        memory, state = self.start(source)
        # No step depends on attention, so the layers run over the whole sequence, and all target
        # positions attend at once as the queries of their sentence.
        hidden_btd = self.stack.sequence(embedded_btm.transpose(0, 1), state.layers).transpose(0, 1)
        attended, _ = self.attention(hidden_btd, memory, state.attention)
        attentional_btd = torch.tanh(self.combine(attended.context_bqe, hidden_btd))
        # The readout reads h~_t: without input feeding, the constructor requires
        # attentional_output.
        return DecoderOutput(
            self.read_out(embedded_btm, attentional_btd),
            attended.auxiliary,
            attended.weights_bqs if need_weights else None,
        )

    def recurrence_spec(self, memory: AttentionMemory, state: RecurrentState) -> RecurrenceSpec:
        # Never empty: `supports_fused` requires input feeding.
        (first_bf,) = state.input_feed
        return build_spec(
            self.stack.layers,
            state.layers,
            self.attention,
            memory,
            order=AttentionOrder.AFTER,
            input_feed=InputFeed(first_bf, self.combine.weight),
            dropout=self.dropout if self.training else 0.0,
        )

    def fused_readout_inputs(
        self, hidden_tbd: Float[Tensor, "t b d"], input_feed_tbf: Float[Tensor, "t b f"]
    ) -> tuple[Tensor, ...]:
        return (input_feed_tbf if self.attentional_output else hidden_tbd,)
