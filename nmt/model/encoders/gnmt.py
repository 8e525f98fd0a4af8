"""The encoder of Wu et al. 2016: one bidirectional layer below a deep residual stack."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.model.interfaces import Encoded, Encoder
from nmt.model.layers.dropout import SequenceDropout
from nmt.model.layers.padding import Padding, layer_states, run_both_directions, run_layer
from nmt.model.layers.recurrent_stack import LayerOptions, Layers
from nmt.registry import ENCODERS


@ENCODERS.register("gnmt")
class GNMTEncoder(Encoder):
    """GNMT encoder: a residual stack on a bidirectional layer. Wu et al. 2016, section 3.

    x^i_t = h^i_t + x^{i-1}_t from the third layer on, eq. 6; the annotations are the top x. The
    last state of the bottom layer is that of its backward direction, so that `initial_state: last`
    can initialize a decoder with as many layers of the same width.

    Args:
        hidden_size: width of a layer and of one direction of the bottom layer; 1024 in the paper
        layers: number of layers, at least 2; 8 in the paper
        cell: type of the layers; gru is that of Cho et al. 2014
        layer_norm: whether the gates of a layer are normalized; Ba et al. 2016
        zoneout: probability that a hidden unit keeps its value; Krueger et al. 2017
        zoneout_cell: the same probability of a unit of the cell
        weight_dropout: dropout rate of recurrent weights; Merity et al. 2018
        dropout: dropout rate between layers; the addend of a residual connection is not dropped
        residual: whether the input of a layer is added to its output, from the third layer on
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Size = 512,
        layers: Count = 4,
        cell: Literal["lstm", "gru"] = "lstm",
        layer_norm: bool = False,
        zoneout: Probability = 0.0,
        zoneout_cell: Probability = 0.0,
        weight_dropout: Probability = 0.0,
        dropout: Probability = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError("requires at least 2 layers; add layers or use encoder 'bilstm'")
        if layers < 3 and not residual:
            raise ValueError("residual has no effect with fewer than 3 layers; remove it")
        self.output_size = self.final_state_size = hidden_size
        self.layers, self.has_cells = layers, cell == "lstm"
        # One layer per direction: forward, then backward.
        options = LayerOptions(cell, layer_norm, zoneout, zoneout_cell, weight_dropout)
        self.bottom = Layers(options.layer(embedding_size, hidden_size) for _ in range(2))
        sizes = [2 * hidden_size] + [hidden_size] * (layers - 2)
        self.upper = Layers(options.layer(size, hidden_size) for size in sizes)
        self.dropout, self.residual = SequenceDropout(dropout), residual

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        embedded_sbm = padding.clear(embedded_bsm.transpose(0, 1))
        needs_cell = self.keeps_cells
        forward, backward = run_both_directions(
            self.bottom, embedded_sbm, padding, needs_cell=needs_cell
        )
        # The second layer reads both directions, figure 3.
        states_sbe = torch.cat([forward.states_sbd, backward.states_sbd], dim=-1)
        # The layer states begin with the backward direction of the bottom layer.
        outputs = [backward]
        for number, layer in enumerate(self.upper, start=2):
            inputs_sbe = self.dropout(states_sbe)
            outputs.append(
                run_layer(layer, inputs_sbe, padding, backward=False, needs_cell=needs_cell)
            )
            # The second layer has inputs of twice the width.
            is_residual = self.residual and number > 2
            # Dropout applies to the input of the layer, not to the residual connection.
            hidden_sbe = outputs[-1].states_sbd
            states_sbe = hidden_sbe + states_sbe if is_residual else hidden_sbe
        # Padding is cleared once at the end: layers read from left to right, so it comes last.
        annotations_bse = padding.clear(states_sbe).transpose(0, 1)
        return Encoded(annotations_bse, mask_bs, outputs[-1].last_bd, layer_states(outputs))
