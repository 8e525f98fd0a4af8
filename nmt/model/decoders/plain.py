"""Decoder of Sutskever et al. 2014, without attention."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Positive, Probability
from nmt.model.interfaces import Decoder, DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.cell import LayerState
from nmt.model.layers.dropout import dropout as drop
from nmt.model.layers.ending import ending, ending_sizes
from nmt.model.layers.stack import RecurrentStack
from nmt.registry import DECODERS


@DECODERS.register("plain")
class PlainDecoder(Decoder):
    """Recurrent decoder without attention, initialized by the encoder. Sutskever et al. 2014.

    s_t = f(s_{t-1}, y_{t-1}), and the output layer reads s_t. With known targets, all positions are
    computed at once. The bridge reads the final states of both directions, [→h_S; ←h_1]; the
    reversed source of the paper, section 3.3, is the encoder `{type: bilstm, direction: backward}`.

    Args:
        hidden_size: units per layer
        layers: recurrent layers; the output layer reads the top layer
        cell: type of the layers; gru is that of Cho et al. 2014
        dropout: dropout rate between layers and before the output layer
        initial_state: computed from the encoder's final state (bridge), or copied from it (last)
    """

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        *,
        hidden_size: Positive = 512,
        layers: Positive = 1,
        cell: Literal["lstm", "gru"] = "lstm",
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last"] = "bridge",
    ) -> None:
        super().__init__()
        self.bridge = Bridge(initial_state, ending_sizes(source), hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        self.stack = RecurrentStack(cell, embedding_size, 0, hidden_size, layers, dropout)
        self.dropout = dropout
        self.output_size = hidden_size

    def start(self, source: Encoded) -> tuple[tuple[()], tuple[LayerState, ...]]:
        return (), self.bridge(ending(source))

    def step(
        self,
        embedded_nm: Float[Tensor, "n m"],
        memory: tuple[()],
        state: tuple[LayerState, ...],
    ) -> StepOutput:
        hidden_nd, state = self.stack.step(self.stack.bottom.project(embedded_nm), state)
        return StepOutput(drop(hidden_nd, self.dropout, self.training), None, state)

    def forward(self, embedded_btm: Float[Tensor, "b t m"], source: Encoded) -> DecoderOutput:
        _, state = self.start(source)
        hidden_tbd = self.stack.sequence(embedded_btm.transpose(0, 1), state)
        return DecoderOutput(drop(hidden_tbd, self.dropout, self.training).transpose(0, 1))
