"""Stacks of recurrent layers, and the options that their layers share."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.layers.dropout import StateDropout, dropout
from nmt.model.layers.normalized import (
    GateNormLSTMLayer,
    NormalizedGRULayer,
    NormalizedLSTMLayer,
)
from nmt.model.layers.recurrent import Cell, GRULayer, LayerState, LSTMLayer, RecurrentLayer

Item = TypeVar("Item", bound=nn.Module)

CELLS: dict[Cell, type[RecurrentLayer]] = {"lstm": LSTMLayer, "gru": GRULayer}
NORMALIZED_CELLS: dict[Cell, type[RecurrentLayer]] = {
    "lstm": NormalizedLSTMLayer,
    "gru": NormalizedGRULayer,
}


@dataclass(frozen=True)
class LayerOptions:
    """Options that all recurrent layers of an encoder or a decoder share.

    Attributes:
        cell: type of the layers
        layer_norm: whether the gates are normalized, or each gate of an LSTM as in RNMT+; see
            `nmt.model.layers.normalized`
        zoneout, zoneout_cell, weight_dropout: see `StateDropout`

    Raises:
        ValueError: an option has no effect
    """

    cell: Cell = "lstm"
    layer_norm: bool | Literal["gates"] = False
    zoneout: float = 0.0
    zoneout_cell: float = 0.0
    weight_dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.zoneout_cell and not CELLS[self.cell].has_cell:
            raise ValueError(
                f"zoneout_cell has no effect with cell: {self.cell}; remove it or use zoneout"
            )

    def layer(
        self, input_size: int | tuple[int, ...], hidden_size: int, feedback_size: int = 0
    ) -> RecurrentLayer:
        """Build a layer; see `RecurrentLayer`."""
        rates = StateDropout(self.zoneout, self.zoneout_cell, self.weight_dropout)
        kind = (NORMALIZED_CELLS if self.layer_norm else CELLS)[self.cell]
        if self.layer_norm == "gates":
            kind = GateNormLSTMLayer
        return kind(input_size, hidden_size, feedback_size, rates)


class Layers(nn.ModuleList, Generic[Item]):
    """A `ModuleList` whose items have one type, which torch's own does not express."""

    def __init__(self, modules: Iterable[Item] = ()) -> None:
        super().__init__(modules)

    def __iter__(self) -> Iterator[Item]:
        # Only items of this type were added.
        return cast(Iterator[Item], super().__iter__())

    @property
    def first(self) -> Item:
        """Return the first item: the bottom layer of a stack."""
        return next(iter(self))


class RecurrentStack(nn.Module):
    """The recurrent layers of a decoder; feedback enters the bottom layer.

    Args:
        options: options of the layers
        input_size: width of the input
        feedback_size: width of the feedback; 0 for none
        hidden_size: width of a layer
        layers: number of layers
        dropout: dropout rate between layers
    """

    def __init__(
        self,
        options: LayerOptions,
        input_size: int,
        feedback_size: int,
        hidden_size: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size] * (layers - 1)
        # Only the bottom layer receives the context or the input feed.
        feedback_sizes = [feedback_size] + [0] * (layers - 1)
        self.layers = Layers(
            options.layer(size, hidden_size, feedback)
            for size, feedback in zip(sizes, feedback_sizes, strict=True)
        )
        self.dropout = dropout

    @property
    def bottom(self) -> RecurrentLayer:
        """Return the layer that reads the input."""
        return self.layers.first

    @property
    def supports_fused(self) -> bool:
        """Return whether the fused recurrence may replace all layers."""
        return all(layer.supports_fused for layer in self.layers)

    def step(
        self,
        projected_ng: Float[Tensor, "n g"],
        states: tuple[LayerState, ...],
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> tuple[Float[Tensor, "n d"], tuple[LayerState, ...]]:
        """Return the top layer's hidden state and all new states.

        Args:
            projected_ng: input, projected by the bottom layer
            states: states before, from the bottom layer up
            feedback_nf: feedback
        """
        bottom, *upper = self.layers
        new_states = [bottom.step(projected_ng, states[0], feedback_nf)]
        for layer, state in zip(upper, states[1:], strict=True):
            # The state itself is not dropped, only the copy that enters the next layer.
            below_nd = dropout(new_states[-1].hidden_nd, self.dropout, self.training)
            new_states.append(layer.step(layer.project(below_nd), state))
        return new_states[-1].hidden_nd, tuple(new_states)

    def sequence(
        self, inputs_tnm: Float[Tensor, "t n m"], states: tuple[LayerState, ...]
    ) -> Float[Tensor, "t n d"]:
        """Compute the top layer's hidden states for known inputs."""
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if number > 0:
                inputs_tnm = dropout(inputs_tnm, self.dropout, self.training)
            inputs_tnm, _ = layer.sequence(inputs_tnm, state)
        return inputs_tnm


@contextmanager
def dropped_weights(module: nn.Module) -> Iterator[None]:
    """Apply dropout to V of all recurrent layers within a `with` block, in training.

    All steps and sentences share a mask, so every backend computes the same sequences as without
    dropout, with other weights. Merity et al. 2018, section 2.
    """
    layers = [
        layer
        for layer in (module.modules() if module.training else ())
        if isinstance(layer, RecurrentLayer) and layer.rates.weight_dropout
    ]
    weights = [layer.recurrent.weight for layer in layers]
    try:
        for layer, weight_gx in zip(layers, weights, strict=True):
            hidden_gd, feedback_gf = weight_gx.tensor_split([layer.hidden_size], dim=1)
            dropped_gd = dropout(hidden_gd, layer.rates.weight_dropout)
            _set_weight(layer, torch.cat([dropped_gd, feedback_gf], dim=1))
        yield
    finally:
        for layer, weight_gx in zip(layers, weights, strict=True):
            _set_weight(layer, weight_gx)


def _set_weight(layer: RecurrentLayer, weight_gx: Float[Tensor, "g x"]) -> None:
    # Assigning the attribute requires a parameter, which the result of an operation is not.
    layer.recurrent._parameters["weight"] = weight_gx  # type: ignore[assignment]
