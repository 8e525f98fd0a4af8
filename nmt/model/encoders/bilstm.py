"""The encoder of Bahdanau et al. 2014: a stack of bidirectional recurrent layers."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.device import run_branches
from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.dropout import SequenceDropout
from nmt.model.layers.padding import LayerOutput, Padding, run_layer
from nmt.model.layers.recurrent_stack import LayerOptions, Layers
from nmt.registry import ENCODERS


@ENCODERS.register("bilstm")
class BiLSTMEncoder(Encoder):
    """Bidirectional LSTM with annotations h_j = [→h_j; ←h_j]. Bahdanau et al. 2014, section 3.2.

    Sentences are padded, and no result depends on the padding. `backward` alone is the reversed
    source of Sutskever et al. 2014, section 3.3, with annotations at the positions of their tokens.

    Args:
        hidden_size: width of one direction of a layer
        layers: number of layers
        cell: type of the layers; gru is that of Cho et al. 2014
        layer_norm: whether the gates of a layer are normalized; Ba et al. 2016
        zoneout: probability that a hidden unit keeps its value; Krueger et al. 2017
        zoneout_cell: the same probability of a unit of the cell
        weight_dropout: dropout rate of recurrent weights; Merity et al. 2018
        dropout: dropout rate between layers
        variational: whether all positions of a sentence share one dropout mask
        direction: directions of each layer
        merge: how both directions become one annotation (default: concat)
        residual: whether the input of a layer is added to its output, from the second layer on
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Size = 256,
        layers: Count = 1,
        cell: Literal["lstm", "gru"] = "lstm",
        layer_norm: bool = False,
        zoneout: Probability = 0.0,
        zoneout_cell: Probability = 0.0,
        weight_dropout: Probability = 0.0,
        dropout: Probability = 0.0,
        variational: bool = False,
        direction: Literal["both", "forward", "backward"] = "both",
        merge: Literal["concat", "sum", "mean"] | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if layers == 1 and dropout:
            raise ValueError("dropout has no effect with layers: 1; remove it or add layers")
        if variational and not dropout:
            raise ValueError("variational has no effect with dropout: 0; set dropout")
        if merge and direction != "both":
            raise ValueError(f"merge has no effect with direction: {direction}; remove it")
        if residual and layers == 1:
            raise ValueError("residual has no effect with layers: 1; remove it or add layers")
        self.merge = merge or "concat"
        self.residual = residual
        self.layers, self.final_state_size = layers, hidden_size
        self.has_cells = cell == "lstm"
        # One entry per direction of a layer: whether it reads from right to left.
        self.backward = {"both": (False, True), "forward": (False,), "backward": (True,)}[direction]
        count = len(self.backward)
        self.output_size = hidden_size * (count if self.merge == "concat" else 1)
        # A layer reads the merged directions of the layer below.
        sizes = [embedding_size] + [self.output_size] * (layers - 1)
        options = LayerOptions(cell, layer_norm, zoneout, zoneout_cell, weight_dropout)
        self.stack = Layers(
            Layers(options.layer(size, hidden_size) for _ in range(count)) for size in sizes
        )
        self.dropout = SequenceDropout(dropout, variational=variational)

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        states_sbe = padding.clear(embedded_bsm.transpose(0, 1))
        hidden_lbe, cell_lbe = [], []
        for number, directions in enumerate(self.stack):
            inputs_sbe = states_sbe if number == 0 else self.dropout(states_sbe)
            runs = [
                partial(
                    run_layer,
                    layer,
                    inputs_sbe,
                    padding,
                    backward=back,
                    needs_cell=self.keeps_cells,
                )
                for layer, back in zip(directions, self.backward, strict=True)
            ]
            outputs: Sequence[LayerOutput] = (
                [runs[0]()]
                if len(runs) == 1
                else run_branches(runs[0], runs[1], (inputs_sbe, padding))
            )
            # Hidden states in padding are meaningless.
            states_sbe = padding.clear(self._merge([output.states_sbd for output in outputs]))
            # From the second layer on, where both have equal width.
            if self.residual and number > 0:
                states_sbe = states_sbe + inputs_sbe
            # Of the backward direction this is the state at position 1, of the forward one at S.
            hidden_lbe.append(self._merge([output.last_bd for output in outputs]))
            # None unless a decoder copies cells; see `Encoder.keeps_cells`.
            cells = [output.cell_bd for output in outputs if output.cell_bd is not None]
            cell_lbe += [self._merge(cells)] if cells else []
        cell_ble = torch.stack(cell_lbe, dim=1) if cell_lbe else None
        layer_states = LayerStates(torch.stack(hidden_lbe, dim=1), cell_ble)
        # The last direction is the backward one if both are read.
        return Encoded(states_sbe.transpose(0, 1), mask_bs, outputs[-1].last_bd, layer_states)

    def _merge(self, directions: list[Tensor]) -> Tensor:
        if len(directions) == 1:
            return directions[0]
        if self.merge == "concat":
            return torch.cat(directions, dim=-1)
        return torch.stack(directions).sum(0) / (2 if self.merge == "mean" else 1)
