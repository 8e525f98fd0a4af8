"""From the encoder's last states to the decoder's first."""

from typing import Literal

import torch
from torch import Tensor, nn

from nmt.model.interfaces import Encoded, SourceSizes
from nmt.model.layers.cell import Cell, LayerState
from nmt.model.layers.initial import xavier

Start = Literal["bridge", "last", "zero"]


class Bridge(nn.Module):
    """The first state of every decoder layer.

    `bridge`: h_0 = tanh(W ←h_1), the cell zero. Bahdanau et al. 2014, appendix A.2.2.
    `last`: hidden states and cells of the encoder's uppermost layers. Luong et al. 2015, section 2.
    `zero`: nothing of the source.

    Args:
        kind: which of the three
        source: the encoder's widths
        hidden_size: units of a decoder layer
        layers: decoder layers
        cell: their gates

    Raises:
        ValueError: when `last` does not fit the encoder

    Attributes:
        needs_cells: whether it reads the cells of `Encoded.layer_states`
    """

    def __init__(
        self, kind: Start, source: SourceSizes, hidden_size: int, layers: int, cell: Cell = "lstm"
    ) -> None:
        super().__init__()
        self.kind, self.hidden_size, self.layers, self.cell = kind, hidden_size, layers, cell
        self.needs_cells = kind == "last" and cell == "lstm"
        if kind == "bridge":
            rows = [xavier(hidden_size, source.final_state) for _ in range(layers)]
            self.weight_ldx = nn.Parameter(torch.stack(rows))
        if kind == "last":
            self._check(source)

    def _check(self, source: SourceSizes) -> None:
        if source.layers < self.layers:
            raise ValueError(
                f"initial_state 'last' needs a state a layer: the encoder has {source.layers} and "
                f"the decoder {self.layers}; use as many encoder layers or 'bridge'"
            )
        if source.annotation != self.hidden_size:
            raise ValueError(
                f"initial_state 'last' copies states of width {source.annotation} into a decoder "
                f"of {self.hidden_size} units; make them equal or use 'bridge'"
            )
        if self.needs_cells and not source.cells:
            raise ValueError(
                "initial_state 'last' copies the cells of LSTMs, and this encoder has none; use "
                "'bridge', or the same cell on both sides"
            )

    def forward(self, source: Encoded) -> tuple[LayerState, ...]:
        zero_bd = source.final_state_bh.new_zeros(source.final_state_bh.size(0), self.hidden_size)
        blank_bd = zero_bd if self.cell == "lstm" else None
        if self.kind == "zero":
            return tuple(LayerState(zero_bd, blank_bd) for _ in range(self.layers))
        if self.kind == "bridge":
            first_lbd = torch.tanh(
                torch.einsum("ldx,bx->lbd", self.weight_ldx, source.final_state_bh)
            )
            return tuple(LayerState(hidden_bd, blank_bd) for hidden_bd in first_lbd.unbind(0))
        hidden = self._top(source.layer_states.hidden_ble)
        if not self.needs_cells:
            return tuple(map(LayerState, hidden))
        assert source.layer_states.cell_ble is not None, (
            "the builder asks the encoder for its cells"
        )
        return tuple(map(LayerState, hidden, self._top(source.layer_states.cell_ble)))

    def _top(self, states_ble: Tensor) -> tuple[Tensor, ...]:
        return states_ble[:, -self.layers :].unbind(dim=1)
