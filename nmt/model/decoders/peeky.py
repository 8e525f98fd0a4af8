"""Decoder of Cho et al. 2014: the encoder's final state at every step."""

from typing import Literal

import torch
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


@DECODERS.register("peeky")
class PeekyDecoder(Decoder):
    """Recurrent decoder that reads the encoder's final state h at every step. Cho et al. 2014.

    s_t = f(s_{t-1}, y_{t-1}, h), with h = [→h_S; ←h_1] if the encoder reads in both directions. The
    output layer reads [h; s_t], as the peeky decoder of Saito's *Deep Learning from Scratch 2*,
    chapter 7; in Cho et al., section 2.2, it reads y_{t-1} as well. With known targets, all
    positions are computed at once.

    Args:
        hidden_size: units per layer
        layers: recurrent layers; h enters the bottom layer
        cell: type of the layers; gru is that of Cho et al. 2014
        dropout: dropout rate between layers and before the output layer
        initial_state: computed from the encoder's final state (bridge), copied from it (last), or
            zero
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
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
    ) -> None:
        super().__init__()
        source = ending_sizes(source)
        self.bridge = Bridge(initial_state, source, hidden_size, layers, cell)
        self.needs_cells = self.bridge.needs_cells
        entering_size = embedding_size + source.final_state
        self.stack = RecurrentStack(cell, entering_size, 0, hidden_size, layers, dropout)
        self.dropout = dropout
        self.output_size = source.final_state + hidden_size

    def start(self, source: Encoded) -> tuple[Float[Tensor, "b h"], tuple[LayerState, ...]]:
        source = ending(source)
        return source.final_state_bh, self.bridge(source)

    def step(
        self,
        embedded_nm: Float[Tensor, "n m"],
        memory: Float[Tensor, "b h"],
        state: tuple[LayerState, ...],
    ) -> StepOutput:
        hypotheses = embedded_nm.size(0) // memory.size(0)
        summary_nh = memory.repeat_interleave(hypotheses, dim=0)
        entering_nx = torch.cat([embedded_nm, summary_nh], dim=-1)
        hidden_nd, state = self.stack.step(self.stack.bottom.project(entering_nx), state)
        return StepOutput(self._seen(summary_nh, hidden_nd), None, state)

    def forward(self, embedded_btm: Float[Tensor, "b t m"], source: Encoded) -> DecoderOutput:
        final_state_bh, state = self.start(source)
        summary_tbh = final_state_bh.expand(embedded_btm.size(1), -1, -1)
        entering_tbx = torch.cat([embedded_btm.transpose(0, 1), summary_tbh], dim=-1)
        hidden_tbd = self.stack.sequence(entering_tbx, state)
        return DecoderOutput(self._seen(summary_tbh, hidden_tbd).transpose(0, 1))

    def _seen(
        self, summary: Float[Tensor, "*axes h"], hidden: Float[Tensor, "*axes d"]
    ) -> Float[Tensor, "*axes both"]:
        return drop(torch.cat([summary, hidden], dim=-1), self.dropout, self.training)
