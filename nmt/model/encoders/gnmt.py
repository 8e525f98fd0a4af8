"""GNMT encoder of Wu et al. 2016."""

from collections.abc import Iterable
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.cell import RecurrentLayer
from nmt.model.layers.directions import Padding, Run, run_layer
from nmt.model.layers.dropout import SequenceDropout
from nmt.model.layers.stack import CELLS
from nmt.registry import ENCODERS


@ENCODERS.register("gnmt")
class GNMTEncoder(Encoder):
    """GNMT encoder: a residual stack on a bidirectional layer. Wu et al. 2016, section 3.

    The upper layers read forward. x^i_t = h^i_t + x^{i-1}_t from the third layer on, eq. 6, and the
    annotations are the outputs x of the top layer. The final state of the bottom layer is that of
    its backward direction, so that `initial_state: last` initializes a decoder of as many layers
    and units.

    Args:
        hidden_size: units per layer and direction; 1024 in the paper
        layers: number of layers, at least 2; 8 in the paper
        cell: type of the layers; gru is that of Cho et al. 2014
        dropout: dropout rate between layers; the residual connections have no dropout
        residual: whether a layer's input is added to its output, from the third layer on
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Positive = 512,
        layers: Positive = 4,
        cell: Literal["lstm", "gru"] = "lstm",
        dropout: Probability = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(
                "a bidirectional layer under others makes 2 layers at least; give more layers or "
                "use the encoder 'bilstm'"
            )
        if layers < 3 and not residual:
            raise ValueError("residual links start at the third layer; remove residual")
        self.output_size = self.final_state_size = hidden_size
        self.layers, self.has_cells = layers, cell == "lstm"
        self.bottom = nn.ModuleList(CELLS[cell](embedding_size, hidden_size) for _ in range(2))
        sizes = [2 * hidden_size] + [hidden_size] * (layers - 2)
        self.upper = nn.ModuleList(CELLS[cell](size, hidden_size) for size in sizes)
        self.dropout, self.residual = SequenceDropout(dropout), residual

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        embedded_sbm = padding.clear(embedded_bsm.transpose(0, 1))
        forward, backward = (
            self._run(layer, embedded_sbm, padding, backward=back)
            for layer, back in zip(_layers(self.bottom), (False, True), strict=True)
        )
        states_sbe = torch.cat([forward.states_sbh, backward.states_sbh], dim=-1)
        ran = [backward]
        for number, layer in enumerate(_layers(self.upper), start=2):
            ran.append(self._run(layer, self.dropout(states_sbe), padding))
            linked = self.residual and number > 2
            states_sbe = ran[-1].states_sbh + states_sbe if linked else ran[-1].states_sbh
        annotations_bse = padding.clear(states_sbe).transpose(0, 1)
        return Encoded(annotations_bse, mask_bs, ran[-1].last_bh, _final(ran))

    def _run(
        self,
        layer: RecurrentLayer,
        inputs_sbm: Float[Tensor, "s b m"],
        padding: Padding,
        *,
        backward: bool = False,
    ) -> Run:
        return run_layer(layer, inputs_sbm, padding, backward=backward, keeps_cell=self.keeps_cells)


def _layers(modules: nn.ModuleList) -> Iterable[RecurrentLayer]:
    # torch types the elements of a ModuleList as Module, whatever they are.
    return cast(Iterable[RecurrentLayer], modules)


def _final(ran: list[Run]) -> LayerStates:
    cells = [run.cell_bh for run in ran if run.cell_bh is not None]
    cell_ble = torch.stack(cells, dim=1) if cells else None
    return LayerStates(torch.stack([run.last_bh for run in ran], dim=1), cell_ble)
