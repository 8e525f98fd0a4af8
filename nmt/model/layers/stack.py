"""Recurrent layers on top of each other, a step at a time."""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.layers.cell import Cell, LayerState, RecurrentLayer
from nmt.model.layers.dropout import dropout
from nmt.model.layers.gru import GRULayer
from nmt.model.layers.lstm import LSTMLayer

CELLS: dict[Cell, type[RecurrentLayer]] = {"lstm": LSTMLayer, "gru": GRULayer}


class RecurrentStack(nn.Module):
    """The recurrent layers of a decoder; feedback enters the bottom one.

    Args:
        cell: gates of a layer
        input_size: width of the input
        feedback_size: width of what comes back at each step; 0 for none
        hidden_size: units of a layer
        layers: how many
        dropout: share of units dropped between layers
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        feedback_size: int,
        hidden_size: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size] * (layers - 1)
        feedback_sizes = [feedback_size] + [0] * (layers - 1)
        self.layers = nn.ModuleList(
            CELLS[cell](size, hidden_size, feedback)
            for size, feedback in zip(sizes, feedback_sizes, strict=True)
        )
        self.dropout = dropout

    @property
    def supports_fused(self) -> bool:
        """Whether the fused recurrence may replace the layers."""
        return all(layer.supports_fused for layer in self._stacked)

    @property
    def bottom(self) -> RecurrentLayer:
        """The layer that the input enters."""
        return self._stacked[0]

    @property
    def _stacked(self) -> list[RecurrentLayer]:
        # torch types the elements of a ModuleList as Module, whatever they are.
        return cast(list[RecurrentLayer], list(self.layers))

    def step(
        self,
        projected_ng: Float[Tensor, "n gates"],
        states: tuple[LayerState, ...],
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> tuple[Float[Tensor, "n d"], tuple[LayerState, ...]]:
        """The top layer's hidden state and all new states, from the bottom layer's projection."""
        moved = [self.bottom.step(projected_ng, states[0], feedback_nf)]
        for layer, state in zip(self._stacked[1:], states[1:], strict=True):
            below_nd = dropout(moved[-1].hidden_nd, self.dropout, self.training)
            moved.append(layer.step(layer.project(below_nd), state))
        return moved[-1].hidden_nd, tuple(moved)

    def sequence(
        self, inputs_tnm: Float[Tensor, "t n m"], states: tuple[LayerState, ...]
    ) -> Float[Tensor, "t n d"]:
        """The top layer's hidden states over inputs that are known beforehand."""
        for number, (layer, state) in enumerate(zip(self._stacked, states, strict=True)):
            if number > 0:
                inputs_tnm = dropout(inputs_tnm, self.dropout, self.training)
            inputs_tnm, _ = layer.sequence(inputs_tnm, state)
        return inputs_tnm
