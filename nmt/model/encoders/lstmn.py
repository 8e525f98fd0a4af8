"""LSTMN encoder of Cheng et al. 2016."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.model.interfaces import Encoded, Encoder, LayerStates, SourceSizes
from nmt.model.layers.directions import Padding
from nmt.model.layers.dropout import SequenceDropout
from nmt.model.layers.lstmn import LSTMNLayer, weight_matrix
from nmt.registry import ENCODERS


class _Run(NamedTuple):
    """What one direction of one layer found: [h; c] of every position, the last, the weights.

    Nothing of it means anything in the padding. Weights are in the order of reading.
    """

    written_sbw: Float[Tensor, "s b w"]
    last_bw: Float[Tensor, "b w"]
    weights: tuple[Tensor, ...]


@ENCODERS.register("lstmn")
class LSTMNEncoder(Encoder):
    """LSTMN: an LSTM with attention over its previous states. Cheng et al. 2016, section 3.2.

    The annotations are the hidden tape; the memory tape is returned as well, for deep fusion. The
    paper reads forward; `direction: both` has a reader per direction and concatenates their tapes
    at each position. A layer reads the hidden tape of the layer below.

    Args:
        hidden_size: units per layer and direction
        attention_size: width of the alignment layer of intra-attention (default: hidden_size)
        layers: number of layers
        dropout: dropout rate between layers
        direction: direction of reading
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Positive = 256,
        attention_size: Positive | None = None,
        layers: Positive = 1,
        dropout: Probability = 0.0,
        direction: Literal["forward", "both"] = "forward",
    ) -> None:
        super().__init__()
        if layers == 1 and dropout:
            message = "dropout stands between layers, and there is one; remove it or add layers"
            raise ValueError(message)
        self.backward = {"forward": (False,), "both": (False, True)}[direction]
        self.layers, self.final_state_size = layers, hidden_size
        self.output_size = hidden_size * len(self.backward)
        sizes = [embedding_size] + [self.output_size] * (layers - 1)
        self.stack = nn.ModuleList(
            nn.ModuleList(
                LSTMNLayer(size, hidden_size, attention_size or hidden_size) for _ in self.backward
            )
            for size in sizes
        )
        self.dropout = SequenceDropout(dropout)

    @property
    def sizes(self) -> SourceSizes:
        return super().sizes._replace(tape=True)

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        last_lbe, cell_lbe = [], []
        for runs in self._runs(embedded_bsm, padding):
            last_be, cell_be = _merge([run.last_bw for run in runs])
            last_lbe.append(last_be)
            cell_lbe.append(cell_be)
        states_sbe, cells_sbe = map(padding.clear, _merge([run.written_sbw for run in runs]))
        cells_ble = torch.stack(cell_lbe, dim=1) if self.keeps_cells else None
        return Encoded(
            states_sbe.transpose(0, 1),
            mask_bs,
            runs[-1].last_bw[:, : self.final_state_size],
            LayerStates(torch.stack(last_lbe, dim=1), cells_ble),
            cells_bse=cells_sbe.transpose(0, 1),
        )

    def intra_weights(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b l s s"]:
        """Where each position (row) recalled from, in every layer.

        Forwards left of the diagonal, backwards right of it; the weights of a direction sum to one.
        """
        padding = Padding.of(mask_bs)
        layers = []
        for runs in self._runs(embedded_bsm, padding):
            sides = [
                _put_back(weight_matrix(run.weights), padding)
                if back
                else weight_matrix(run.weights)
                for run, back in zip(runs, self.backward, strict=True)
            ]
            layers.append(torch.stack(sides).sum(0))
        return torch.stack(layers, dim=1).masked_fill(~mask_bs[:, None, :, None], 0.0)

    def _runs(self, embedded_bsm: Float[Tensor, "b s m"], padding: Padding) -> Iterator[list[_Run]]:
        """The runs of each layer, from the bottom one up."""
        below_sbe = padding.clear(embedded_bsm.transpose(0, 1))
        # torch types the elements of a ModuleList as Module, whatever they are.
        for number, layers in enumerate(cast(Iterable[Iterable[LSTMNLayer]], self.stack)):
            if number > 0:
                below_sbe = self.dropout(padding.clear(below_sbe))
            runs = [
                _run(layer, below_sbe, padding, backward=back)
                for layer, back in zip(layers, self.backward, strict=True)
            ]
            yield runs
            below_sbe, _ = _merge([run.written_sbw for run in runs])


def _run(
    layer: LSTMNLayer, inputs_sbm: Float[Tensor, "s b m"], padding: Padding, *, backward: bool
) -> _Run:
    """A layer over every sentence; backwards is forwards over the reversed one.

    So padding comes last, and no real position has it on its tapes.
    """
    written_sbw, weights = layer.sequence(padding.reverse(inputs_sbm) if backward else inputs_sbm)
    last_bw = padding.last(written_sbw)
    return _Run(padding.reverse(written_sbw) if backward else written_sbw, last_bw, weights)


def _merge(
    written: list[Float[Tensor, "*axes w"]],
) -> tuple[Float[Tensor, "*axes e"], Float[Tensor, "*axes e"]]:
    """Hidden states and cells of all directions."""
    hidden, cells = zip(*(one.chunk(2, dim=-1) for one in written), strict=True)
    return torch.cat(hidden, dim=-1), torch.cat(cells, dim=-1)


def _put_back(weights_bss: Float[Tensor, "b s s"], padding: Padding) -> Float[Tensor, "b s s"]:
    """Rows and columns of reversed sentences in the order of the sentences."""
    rows_sbs = padding.reverse(weights_bss.transpose(0, 1))
    columns_sbs = padding.reverse(rows_sbs.transpose(0, 2))
    return columns_sbs.permute(1, 2, 0)
