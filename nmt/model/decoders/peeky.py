"""The decoder of Cho et al. 2014: the encoder's last state at every step."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.model.interfaces import Decoder, DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.bridge import Bridge, sizes_with_both_directions, with_both_directions
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.recurrent import LayerState
from nmt.model.layers.recurrent_stack import LayerOptions, RecurrentStack
from nmt.registry import DECODERS


@DECODERS.register("peeky")
class PeekyDecoder(Decoder[Tensor, tuple[LayerState, ...]]):
    """Recurrent decoder that reads the encoder's final state h at every step. Cho et al. 2014.

    s_t = f(s_{t-1}, [y_{t-1}; h]), where h is [→h_S; ←h_1] for an encoder with both directions. The
    output layer reads [h; s_t]: the peeky decoder of Saito's *Deep Learning from Scratch 2*,
    chapter 7. In Cho et al., section 2.2, it reads y_{t-1} too. Teacher forcing decodes all target
    positions at once.

    Args:
        hidden_size: width of a layer
        layers: number of recurrent layers; h enters the bottom layer
        cell: type of the layers; gru is that of Cho et al. 2014
        layer_norm: whether the gates of a layer are normalized; Ba et al. 2016
        zoneout: probability that a hidden unit keeps its value; Krueger et al. 2017
        zoneout_cell: the same probability of a unit of the cell
        weight_dropout: dropout rate of recurrent weights; Merity et al. 2018
        dropout: dropout rate between layers and before the output layer
        initial_state: s_0 from the encoder: a projection of its final state, its last states, or
            zero
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
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
    ) -> None:
        super().__init__()
        source = sizes_with_both_directions(source)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        # h is an input and no feedback, so a known target can be read as one sequence.
        input_size = embedding_size + source.final_state
        options = LayerOptions(cell, layer_norm, zoneout, zoneout_cell, weight_dropout)
        self.stack = RecurrentStack(options, input_size, 0, hidden_size, layers, dropout)
        self.dropout = dropout
        self.output_size = source.final_state + hidden_size

    def start(self, source: Encoded) -> tuple[Float[Tensor, "b x"], tuple[LayerState, ...]]:
        source = with_both_directions(source)
        return source.final_state_bx, self.bridge(source)

    def step(
        self,
        embedded_nm: Float[Tensor, "n m"],
        memory: Float[Tensor, "b x"],
        state: tuple[LayerState, ...],
    ) -> StepOutput[tuple[LayerState, ...]]:
        hypotheses = embedded_nm.size(0) // memory.size(0)
        # The final state is in memory, which the hypotheses of a sentence share.
        final_nx = memory.repeat_interleave(hypotheses, dim=0)
        inputs = torch.cat([embedded_nm, final_nx], dim=-1)
        hidden_nd, state = self.stack.step(self.stack.bottom.project(inputs), state)
        return StepOutput(self._output(final_nx, hidden_nd), None, state)

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded, *, need_weights: bool = False
    ) -> DecoderOutput:
        final_bx, state = self.start(source)
        # A view: the same vector at every target position.
        final_tbx = final_bx.expand(embedded_btm.size(1), -1, -1)
        inputs = torch.cat([embedded_btm.transpose(0, 1), final_tbx], dim=-1)
        hidden_tbd = self.stack.sequence(inputs, state)
        return DecoderOutput(self._output(final_tbx, hidden_tbd).transpose(0, 1))

    def _output(
        self, final: Float[Tensor, "*axes x"], hidden: Float[Tensor, "*axes d"]
    ) -> Float[Tensor, "*axes d2"]:
        return apply_dropout(torch.cat([final, hidden], dim=-1), self.dropout, self.training)
