"""Bidirectional LSTM encoder of Bahdanau et al. 2014."""

from collections.abc import Iterable
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.cell import RecurrentLayer
from nmt.model.layers.directions import Padding, run_layer
from nmt.model.layers.dropout import SequenceDropout
from nmt.model.layers.stack import CELLS
from nmt.registry import ENCODERS


@ENCODERS.register("bilstm")
class BiLSTMEncoder(Encoder):
    """Bidirectional LSTM with annotations h_j = [→h_j; ←h_j]. Bahdanau et al. 2014, section 3.2.

    No result depends on the padding. `direction: backward` is the reversed source of Sutskever et
    al. 2014, section 3.3, with every annotation at the position of its token.

    Args:
        hidden_size: units per layer and direction
        layers: number of layers
        cell: type of the layers; gru is that of Cho et al. 2014
        dropout: dropout rate between layers
        variational: whether all positions of a sentence share one dropout mask
        direction: direction of reading
        merge: how the states of both directions become one annotation (default: concat)
        residual: whether a layer's input is added to its output, from the second layer on
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Positive = 256,
        layers: Positive = 1,
        cell: Literal["lstm", "gru"] = "lstm",
        dropout: Probability = 0.0,
        variational: bool = False,
        direction: Literal["both", "forward", "backward"] = "both",
        merge: Literal["concat", "sum", "mean"] | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        _refuse_unused(layers, dropout, variational, direction, merge, residual)
        self.merge = merge or "concat"
        self.residual = residual
        self.layers, self.final_state_size = layers, hidden_size
        self.has_cells = cell == "lstm"
        self.backward = {"both": (False, True), "forward": (False,), "backward": (True,)}[direction]
        count = len(self.backward)
        self.output_size = hidden_size * (count if self.merge == "concat" else 1)
        sizes = [embedding_size] + [self.output_size] * (layers - 1)
        self.stack = nn.ModuleList(
            nn.ModuleList(CELLS[cell](size, hidden_size) for _ in range(count)) for size in sizes
        )
        self.dropout = SequenceDropout(dropout, variational=variational)

    @property
    def _stacked(self) -> Iterable[Iterable[RecurrentLayer]]:
        # torch types the elements of a ModuleList as Module, whatever they are.
        return cast(Iterable[Iterable[RecurrentLayer]], self.stack)

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        states_sbe = padding.clear(embedded_bsm.transpose(0, 1))
        hidden_lbe, cell_lbe = [], []
        for number, directions in enumerate(self._stacked):
            below_sbe = states_sbe if number == 0 else self.dropout(states_sbe)
            ran = [
                run_layer(layer, below_sbe, padding, backward=back, keeps_cell=self.keeps_cells)
                for layer, back in zip(directions, self.backward, strict=True)
            ]
            states_sbe = padding.clear(self._merge([run.states_sbh for run in ran]))
            if self.residual and number > 0:
                states_sbe = states_sbe + below_sbe
            hidden_lbe.append(self._merge([run.last_bh for run in ran]))
            cells = [run.cell_bh for run in ran if run.cell_bh is not None]
            cell_lbe += [self._merge(cells)] if cells else []
        cells_ble = torch.stack(cell_lbe, dim=1) if cell_lbe else None
        final = LayerStates(torch.stack(hidden_lbe, dim=1), cells_ble)
        return Encoded(states_sbe.transpose(0, 1), mask_bs, ran[-1].last_bh, final)

    def _merge(self, directions: list[Tensor]) -> Tensor:
        if len(directions) == 1:
            return directions[0]
        if self.merge == "concat":
            return torch.cat(directions, dim=-1)
        return torch.stack(directions).sum(0) / (2 if self.merge == "mean" else 1)


def _refuse_unused(
    layers: int,
    dropout: float,
    variational: bool,
    direction: str,
    merge: str | None,
    residual: bool,
) -> None:
    """Raise ValueError for an option that another one leaves without effect."""
    if layers == 1 and dropout:
        raise ValueError("dropout stands between layers, and there is one; remove it or add layers")
    if variational and not dropout:
        raise ValueError("variational says how to drop out, and dropout is 0; set dropout")
    if merge and direction != "both":
        raise ValueError(f"merge joins two directions, and direction is {direction}; remove merge")
    if residual and layers == 1:
        raise ValueError("residual links start at the second layer, and there is one")
