"""Initial states of decoders from the last states of the encoder."""

from typing import Literal

import torch
from torch import Tensor, nn

from nmt.model.interfaces import Encoded, SourceSizes
from nmt.model.layers.arithmetic import TORCH_ARITHMETIC, Arithmetic
from nmt.model.layers.linear import xavier
from nmt.model.layers.recurrent import Cell, LayerState

InitialState = Literal["bridge", "last", "zero"]


class Bridge(nn.Module):
    """The initial state of every decoder layer.

    bridge: h_0 = tanh(W ←h_1) and a zero cell. Bahdanau et al. 2014, appendix A.2.2.
    last: hidden states and cells of the encoder's top layers. Luong et al. 2015, section 2.
    zero: zero, whatever the source is.

    Args:
        kind: one of the three
        source: widths of the encoder's output
        hidden_size: width of a decoder layer
        layers: number of decoder layers
        cell: type of the decoder layers

    Attributes:
        needs_cells: whether `Encoded.layer_states` must contain cells

    Raises:
        ValueError: `last` does not fit the encoder
    """

    arithmetic: Arithmetic = TORCH_ARITHMETIC

    def __init__(
        self,
        kind: InitialState,
        source: SourceSizes,
        hidden_size: int,
        layers: int,
        cell: Cell = "lstm",
    ) -> None:
        super().__init__()
        self.kind, self.hidden_size, self.layers, self.cell = kind, hidden_size, layers, cell
        self.needs_cells = kind == "last" and cell == "lstm"
        if kind == "bridge":
            # One matrix per layer, in one parameter.
            weights = [xavier(hidden_size, source.final_state) for _ in range(layers)]
            weight_ldx = torch.empty(len(weights), *weights[0].shape)
            # In place of torch.stack, for the reason given in `xavier_gates`.
            for layer, weight in zip(weight_ldx, weights, strict=True):
                layer.copy_(weight)
            self.weight_ldx = nn.Parameter(weight_ldx)
        if kind == "last":
            self._check(source)

    def _check(self, source: SourceSizes) -> None:
        if source.layers < self.layers:
            raise ValueError(
                f"initial_state 'last' requires as many encoder layers as decoder layers, got "
                f"{source.layers} and {self.layers}; add encoder layers or use 'bridge'"
            )
        if source.annotation != self.hidden_size:
            raise ValueError(
                f"initial_state 'last' copies states of width {source.annotation} into a decoder "
                f"of width {self.hidden_size}; make the widths equal or use 'bridge'"
            )
        if self.needs_cells and not source.has_cells:
            raise ValueError(
                "initial_state 'last' copies LSTM cells, and this encoder has none; use 'bridge' "
                "or the same cell on both sides"
            )

    def forward(self, source: Encoded) -> tuple[LayerState, ...]:
        zero_bd = source.final_state_bx.new_zeros(source.final_state_bx.size(0), self.hidden_size)
        # Only an LSTM has cells.
        cell_bd = zero_bd if self.cell == "lstm" else None
        if self.kind == "zero":
            return tuple(LayerState(zero_bd, cell_bd) for _ in range(self.layers))
        if self.kind == "bridge":
            # All layers in one product.
            final_bx = source.final_state_bx
            hidden_lbd = self.arithmetic.stacked_linear(final_bx, self.weight_ldx).tanh()
            return tuple(LayerState(hidden_bd, cell_bd) for hidden_bd in hidden_lbd.unbind(0))
        hidden = self._top(source.layer_states.hidden_ble)
        if not self.needs_cells:
            return tuple(map(LayerState, hidden))
        assert source.layer_states.cell_ble is not None, "see `Encoder.keeps_cells`"
        return tuple(map(LayerState, hidden, self._top(source.layer_states.cell_ble)))

    def _top(self, states_ble: Tensor) -> tuple[Tensor, ...]:
        # The top layers of both sides correspond.
        return states_ble[:, -self.layers :].unbind(dim=1)


def with_both_directions(source: Encoded) -> Encoded:
    """Replace the final state ←h_1 by [→h_S; ←h_1] of the top layer.

    A decoder that reads no annotations would otherwise leave the top layer's forward direction
    unused. The final state of an encoder without layer states stays.
    """
    if source.layer_states.hidden_ble.size(1) == 0:
        return source
    return source._replace(final_state_bx=source.layer_states.hidden_ble[:, -1])


def sizes_with_both_directions(source: SourceSizes) -> SourceSizes:
    """Return the sizes of `with_both_directions`."""
    # The last states of a layer are as wide as an annotation; see `LayerStates`.
    return source._replace(final_state=source.annotation) if source.layers else source
