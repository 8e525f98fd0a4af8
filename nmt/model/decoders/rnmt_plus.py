"""The decoder of RNMT+, Chen et al. 2018."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.component_spec import Count, Probability, Size
from nmt.model.attention.mechanism import AttentionFactory
from nmt.model.decoders.deep import DeepDecoder
from nmt.model.interfaces import SourceSizes
from nmt.model.layers.recurrent_stack import LayerOptions
from nmt.registry import DECODERS


@DECODERS.register("rnmt_plus")
class RNMTPlusDecoder(DeepDecoder):
    """RNMT+ decoder: context for all layers and for the output layer. Chen et al. 2018, section 4.

        a_i   = attend(h^1_{i-1})                    with the bottom layer's last output
        h^l_i = LSTM_l([x^{l-1}_i; a_i], h^l_{i-1})  x^0 is the embedding; each gate has its own LN
        x^l_i = h^l_i + x^{l-1}_i                    from the third layer on

    The output layer reads [x_i; a_i] with the top x. Dropout applies to the output h of each layer.
    The paper has additive attention with 4 heads and with dropout:
    `attention: {type: global, dropout: 0.1}` and `score: {type: additive, heads: 4}`.

    Args:
        hidden_size: width of a layer; 1024 in the paper
        layers: number of layers; 8 in the paper
        dropout: dropout rate of the outputs of layers
        initial_state: initial states from the encoder: zero as in the authors' program, a
            projection of its final state, or its last states
        readout_size: width of a linear layer before the output layer (default: no such layer);
            for tied embeddings, the width of an embedding
    """

    drops_outputs = True

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        *,
        hidden_size: Size = 512,
        layers: Count = 4,
        dropout: Probability = 0.0,
        initial_state: Literal["zero", "bridge", "last"] = "zero",
        readout_size: Size | None = None,
    ) -> None:
        super().__init__(
            embedding_size,
            source,
            attention,
            LayerOptions(layer_norm="gates"),
            hidden_size=hidden_size,
            layers=layers,
            dropout=dropout,
            initial_state=initial_state,
        )
        width = hidden_size + source.annotation
        self.readout = nn.Linear(width, readout_size) if readout_size else None
        self.output_size = readout_size or width

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *readout_inputs: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        output = torch.cat(readout_inputs, dim=-1)
        return output if self.readout is None else self.readout(output)
