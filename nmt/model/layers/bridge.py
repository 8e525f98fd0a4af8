"""From the encoder's last states to the decoder's first."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from nmt.model.interfaces import Encoded
from nmt.model.layers.initial import xavier
from nmt.model.layers.lstm import LSTMState

Start = Literal["bridge", "last", "zero"]


class SourceSizes(NamedTuple):
    """What a decoder needs to know of its encoder."""

    annotation: int
    summary: int
    layers: int


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

    Raises:
        ValueError: when `last` does not fit the encoder
    """

    def __init__(self, kind: Start, source: SourceSizes, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.kind, self.hidden_size, self.layers = kind, hidden_size, layers
        if kind == "bridge":
            rows = [xavier(hidden_size, source.summary) for _ in range(layers)]
            self.weight_ldh = nn.Parameter(torch.stack(rows))
        if kind == "last" and source.annotation != hidden_size:
            raise ValueError(
                f"initial_state 'last' copies states of width {source.annotation} into a decoder "
                f"of {hidden_size} units; make them equal or use 'bridge'"
            )
        if kind == "last" and source.layers < layers:
            raise ValueError(
                f"initial_state 'last' needs a state a layer: the encoder has {source.layers} and "
                f"the decoder {layers}; use as many encoder layers or 'bridge'"
            )

    def forward(self, source: Encoded) -> tuple[LSTMState, ...]:
        zero_bd = source.summary_bh.new_zeros(source.summary_bh.size(0), self.hidden_size)
        if self.kind == "zero":
            return tuple(LSTMState(zero_bd, zero_bd) for _ in range(self.layers))
        if self.kind == "bridge":
            hidden = torch.tanh(torch.einsum("ldh,bh->lbd", self.weight_ldh, source.summary_bh))
            return tuple(LSTMState(hidden_bd, zero_bd) for hidden_bd in hidden.unbind(0))
        assert source.final.cell_ble is not None, "the builder asks the encoder for its cells"
        hidden_ble, cell_ble = source.final.hidden_ble, source.final.cell_ble
        return tuple(map(LSTMState, self._top(hidden_ble), self._top(cell_ble)))

    def _top(self, states_ble: Tensor) -> tuple[Tensor, ...]:
        return states_ble[:, -self.layers :].unbind(dim=1)
