"""The decoder of Sutskever et al. 2014: no attention."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.model.interfaces import Decoder, DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.bridge import Bridge, sizes_with_both_directions, with_both_directions
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.recurrent import LayerState
from nmt.model.layers.recurrent_stack import LayerOptions, RecurrentStack
from nmt.registry import DECODERS


@DECODERS.register("plain")
class PlainDecoder(Decoder[tuple[()], tuple[LayerState, ...]]):
    """Recurrent decoder without attention, initialized by the encoder. Sutskever et al. 2014.

    s_t = f(s_{t-1}, y_{t-1}), and the output layer reads s_t. Teacher forcing decodes all target
    positions at once. The bridge reads the last states of both directions, [→h_S; ←h_1]. For the
    reversed source of the paper, section 3.3, use encoder `{type: bilstm, direction: backward}`.

    Args:
        hidden_size: width of a layer
        layers: number of recurrent layers; the output layer reads the top layer
        cell: type of the layers; gru is that of Cho et al. 2014
        layer_norm: whether the gates of a layer are normalized; Ba et al. 2016
        zoneout: probability that a hidden unit keeps its value; Krueger et al. 2017
        zoneout_cell: the same probability of a unit of the cell
        weight_dropout: dropout rate of recurrent weights; Merity et al. 2018
        dropout: dropout rate between layers and before the output layer
        initial_state: s_0 from the encoder: a projection of its final state, or its last states
    """

    has_attention = False

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        *,
        hidden_size: Size = 512,
        layers: Count = 1,
        cell: Literal["lstm", "gru"] = "lstm",
        layer_norm: bool = False,
        zoneout: Probability = 0.0,
        zoneout_cell: Probability = 0.0,
        weight_dropout: Probability = 0.0,
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last"] = "bridge",
    ) -> None:
        super().__init__()
        source = sizes_with_both_directions(source)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        options = LayerOptions(cell, layer_norm, zoneout, zoneout_cell, weight_dropout)
        self.stack = RecurrentStack(options, embedding_size, 0, hidden_size, layers, dropout)
        self.dropout = dropout
        self.output_size = hidden_size

    def start(self, source: Encoded) -> tuple[tuple[()], tuple[LayerState, ...]]:
        # No memory: the state contains everything that the decoder knows of the source.
        return (), self.bridge(with_both_directions(source))

    def step(
        self, embedded_nm: Float[Tensor, "n m"], memory: tuple[()], state: tuple[LayerState, ...]
    ) -> StepOutput[tuple[LayerState, ...]]:
        hidden_nd, state = self.stack.step(self.stack.bottom.project(embedded_nm), state)
        return StepOutput(apply_dropout(hidden_nd, self.dropout, self.training), None, state)

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded, *, need_weights: bool = False
    ) -> DecoderOutput:
        _, state = self.start(source)
        # Without attention and feedback all inputs are known: one sequence per layer.
        hidden_tbd = self.stack.sequence(embedded_btm.transpose(0, 1), state)
        output_tbd = apply_dropout(hidden_tbd, self.dropout, self.training)
        return DecoderOutput(output_tbd.transpose(0, 1))
