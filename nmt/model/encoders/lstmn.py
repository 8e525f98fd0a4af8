"""The encoder of Cheng et al. 2016: an LSTM that attends to its own past states."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import Count, Probability, Size
from nmt.model.interfaces import Encoded, Encoder, LayerStates, SourceSizes
from nmt.model.layers.dropout import SequenceDropout
from nmt.model.layers.lstmn import MEMORY_TAPE, LSTMNLayer, weight_matrix
from nmt.model.layers.padding import Padding
from nmt.model.layers.recurrent_stack import Layers
from nmt.registry import ENCODERS


class LSTMNOutput(NamedTuple):
    """Output of one direction of one layer, meaningless in padding.

    Attributes:
        entries_sbx: [h; c] of every position
        last_bx: [h; c] of the last position in reading order
        weights: attention weights of every step, in reading order
    """

    entries_sbx: Float[Tensor, "s b x"]
    last_bx: Float[Tensor, "b x"]
    weights: tuple[Tensor, ...]


@ENCODERS.register("lstmn")
class LSTMNEncoder(Encoder):
    """LSTMN: an LSTM with attention over its previous states. Cheng et al. 2016, section 3.2.

    The annotations are the hidden tape; the memory tape is an extra output, for deep fusion. The
    paper reads forward. With both directions, two readers concatenate their tapes position by
    position. A layer reads the hidden tape of the layer below.

    Args:
        hidden_size: width of one direction of a layer
        attention_size: width of the attention to past states (default: hidden_size)
        layers: number of layers
        dropout: dropout rate between layers
        direction: directions of each layer
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Size = 256,
        attention_size: Size | None = None,
        layers: Count = 1,
        dropout: Probability = 0.0,
        direction: Literal["forward", "both"] = "forward",
    ) -> None:
        super().__init__()
        if layers == 1 and dropout:
            raise ValueError("dropout has no effect with layers: 1; remove it or add layers")
        self.backward = {"forward": (False,), "both": (False, True)}[direction]
        self.layers, self.final_state_size = layers, hidden_size
        self.output_size = hidden_size * len(self.backward)
        sizes = [embedding_size] + [self.output_size] * (layers - 1)
        self.stack = Layers(
            Layers(
                LSTMNLayer(size, hidden_size, attention_size or hidden_size) for _ in self.backward
            )
            for size in sizes
        )
        self.dropout = SequenceDropout(dropout)

    @property
    def sizes(self) -> SourceSizes:
        return super().sizes._replace(extras={MEMORY_TAPE: self.output_size})

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        hidden_lbe, cell_lbe = [], []
        for outputs in self._layer_outputs(embedded_bsm, padding):
            hidden_be, cell_be = _merge([output.last_bx for output in outputs])
            hidden_lbe.append(hidden_be)
            cell_lbe.append(cell_be)
        # Of the top layer.
        entries = [output.entries_sbx for output in outputs]
        states_sbe, cells_sbe = map(padding.clear, _merge(entries))
        cell_ble = torch.stack(cell_lbe, dim=1) if self.keeps_cells else None
        return Encoded(
            states_sbe.transpose(0, 1),
            mask_bs,
            # The hidden half of [h; c], of the backward direction if both are read.
            outputs[-1].last_bx[:, : self.final_state_size],
            LayerStates(torch.stack(hidden_lbe, dim=1), cell_ble),
            {MEMORY_TAPE: cells_sbe.transpose(0, 1)},
        )

    def intra_weights(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b l s s"]:
        """Compute the weights with which each position (row) attends to past states, per layer.

        The forward direction is left of the diagonal, the backward direction right of it; the
        weights of each sum to one.
        """
        padding = Padding.of(mask_bs)
        layers = []
        for outputs in self._layer_outputs(embedded_bsm, padding):
            matrices = [
                _reverse(weight_matrix(output.weights), padding)
                if back
                else weight_matrix(output.weights)
                for output, back in zip(outputs, self.backward, strict=True)
            ]
            # The directions do not overlap: each has weights on its own side of the diagonal.
            layers.append(torch.stack(matrices).sum(0))
        return torch.stack(layers, dim=1).masked_fill(~mask_bs[:, None, :, None], 0.0)

    def _layer_outputs(
        self, embedded_bsm: Float[Tensor, "b s m"], padding: Padding
    ) -> Iterator[list[LSTMNOutput]]:
        """Yield the outputs of all directions of each layer, from the bottom up."""
        inputs_sbe = padding.clear(embedded_bsm.transpose(0, 1))
        for number, layers in enumerate(self.stack):
            if number > 0:
                # Padding of a backward layer is meaningless and must not reach the layer above.
                inputs_sbe = self.dropout(padding.clear(inputs_sbe))
            outputs = [
                _run_layer(layer, inputs_sbe, padding, backward=back)
                for layer, back in zip(layers, self.backward, strict=True)
            ]
            yield outputs
            inputs_sbe, _ = _merge([output.entries_sbx for output in outputs])


def _run_layer(
    layer: LSTMNLayer, inputs_sbm: Float[Tensor, "s b m"], padding: Padding, *, backward: bool
) -> LSTMNOutput:
    """Run a layer over every sentence; the backward direction reads the reversed sentence.

    Padding comes last in both directions, so it is on the tapes of no real position.
    """
    inputs_sbm = padding.reverse(inputs_sbm) if backward else inputs_sbm
    entries_sbx, weights = layer.sequence(inputs_sbm)
    last_bx = padding.last(entries_sbx)
    return LSTMNOutput(padding.reverse(entries_sbx) if backward else entries_sbx, last_bx, weights)


def _merge(
    entries: list[Float[Tensor, "*axes x"]],
) -> tuple[Float[Tensor, "*axes e"], Float[Tensor, "*axes e"]]:
    """Return the concatenated hidden states and the concatenated cells of all directions."""
    # Each entry is [h; c]; the parts are concatenated apart, as decoders read them apart.
    hidden, cells = zip(*(one.chunk(2, dim=-1) for one in entries), strict=True)
    return torch.cat(hidden, dim=-1), torch.cat(cells, dim=-1)


def _reverse(weights_bss: Float[Tensor, "b s s"], padding: Padding) -> Float[Tensor, "b s s"]:
    """Bring rows and columns of reversed sentences into the order of the sentences."""
    # Rows, then columns.
    rows_sbs = padding.reverse(weights_bss.transpose(0, 1))
    columns_sbs = padding.reverse(rows_sbs.transpose(0, 2))
    return columns_sbs.permute(1, 2, 0)
