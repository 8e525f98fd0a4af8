"""The encoder of RNMT+, Chen et al. 2018."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.model.interfaces import Encoded, Encoder
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.linear import glorot_linear
from nmt.model.layers.padding import Padding, layer_states, run_both_directions
from nmt.model.layers.recurrent_stack import LayerOptions, Layers
from nmt.registry import ENCODERS


@ENCODERS.register("rnmt_plus")
class RNMTPlusEncoder(Encoder):
    """RNMT+ encoder: a stack of bidirectional layers with residuals. Chen et al. 2018, section 4.

    h^l_s = [→h^l_s; ←h^l_s] with layer normalization of each gate, and x^l = h^l + x^{l-1} from the
    third layer on. The annotations are a projection of the top x to the width of a layer. The last
    states are those of the backward directions.

    Args:
        hidden_size: width of an annotation and of one direction of a layer; 1024 in the paper
        layers: number of layers; 6 in the paper
        dropout: dropout rate of the outputs of layers, before they are added to their inputs
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Size = 512,
        layers: Count = 4,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        options = LayerOptions(layer_norm="gates")
        self.output_size = self.final_state_size = hidden_size
        self.layers, self.dropout = layers, dropout
        sizes = [embedding_size] + [2 * hidden_size] * (layers - 1)
        # One layer per direction: forward, then backward.
        self.stack = Layers(
            Layers(options.layer(size, hidden_size) for _ in range(2)) for size in sizes
        )
        self.projection = glorot_linear(2 * hidden_size, hidden_size)

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        states_sbe = padding.clear(embedded_bsm.transpose(0, 1))
        outputs = []
        for number, layers in enumerate(self.stack, start=1):
            forward, backward = run_both_directions(
                layers, states_sbe, padding, needs_cell=self.keeps_cells
            )
            outputs.append(backward)
            hidden_sbe = torch.cat([forward.states_sbd, backward.states_sbd], dim=-1)
            # Hidden states in padding are meaningless.
            hidden_sbe = padding.clear(apply_dropout(hidden_sbe, self.dropout, self.training))
            states_sbe = hidden_sbe + states_sbe if number > 2 else hidden_sbe
        annotations_sbe = padding.clear(self.projection(states_sbe))
        states = layer_states(outputs)
        return Encoded(annotations_sbe.transpose(0, 1), mask_bs, outputs[-1].last_bd, states)
