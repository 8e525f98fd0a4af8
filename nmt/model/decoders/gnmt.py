"""The decoder of Wu et al. 2016: the bottom layer attends for all layers."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.model.attention.mechanism import AttentionFactory
from nmt.model.decoders.deep import DeepDecoder
from nmt.model.interfaces import SourceSizes
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.recurrent_stack import LayerOptions
from nmt.registry import DECODERS


@DECODERS.register("gnmt")
class GNMTDecoder(DeepDecoder):
    """GNMT decoder: the bottom layer attends for all layers. Wu et al. 2016, section 3.

        a_i   = attend(x^1_{i-1})                    eq. 4, with the bottom layer's last output
        h^l_i = LSTM_l([x^{l-1}_i; a_i], h^l_{i-1})  x^0 is the embedding
        x^l_i = h^l_i + x^{l-1}_i                    eq. 6, from the third layer on

    The output layer reads the top x. Only the bottom layer depends on attention of the previous
    step: in teacher forcing the upper layers run over all positions at once, where the paper runs
    them on GPUs of their own, figure 1. This is the order of `gnmt` in TensorFlow's tutorial; its
    `gnmt_v2` gives a_{i+1} to the upper layers.

    Args:
        hidden_size: width of a layer; 1024 in the paper
        layers: number of layers, at least 2; 8 in the paper
        cell: type of the layers; gru is that of Cho et al. 2014
        layer_norm: whether the gates of a layer are normalized; Ba et al. 2016
        zoneout: probability that a hidden unit keeps its value; Krueger et al. 2017
        zoneout_cell: the same probability of a unit of the cell
        weight_dropout: dropout rate of recurrent weights; Merity et al. 2018
        dropout: dropout rate between layers and before the output layer; the addend of a residual
            connection is not dropped
        initial_state: initial states from the encoder: a projection of its final state, its last
            states, or zero
        residual: whether the input of a layer is added to its output, from the third layer on
    """

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        attention: AttentionFactory,
        *,
        hidden_size: Size = 512,
        layers: Count = 4,
        cell: Literal["lstm", "gru"] = "lstm",
        layer_norm: bool = False,
        zoneout: Probability = 0.0,
        zoneout_cell: Probability = 0.0,
        weight_dropout: Probability = 0.0,
        dropout: Probability = 0.0,
        initial_state: Literal["bridge", "last", "zero"] = "bridge",
        residual: bool = True,
    ) -> None:
        if layers < 2:
            raise ValueError("requires at least 2 layers; add layers or use decoder 'bahdanau'")
        if layers < 3 and not residual:
            raise ValueError("residual has no effect with fewer than 3 layers; remove it")
        options = LayerOptions(cell, layer_norm, zoneout, zoneout_cell, weight_dropout)
        super().__init__(
            embedding_size,
            source,
            attention,
            options,
            hidden_size=hidden_size,
            layers=layers,
            dropout=dropout,
            initial_state=initial_state,
            residual=residual,
        )

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *readout_inputs: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        # The output of the top layer alone: context and embedding have entered further down.
        return apply_dropout(readout_inputs[0], self.dropout, self.training)
