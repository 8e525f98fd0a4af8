"""What the fused loop reads, and what it writes down on its way for the way back."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Given(NamedTuple):
    """All that a loop reads, in the type of its products; cells are float32 at least.

    The letters are those of the decoders, and g for the gates, x for a row [h_{t-1}; r_t] that
    they are multiplied with, f for the feedback. Upper layers are all layers but the bottom one.

    Attributes:
        projected_tbg: what the input gives to the bottom layer's gates
        keys_bsa: keys
        values_bse: annotations
        mask_bs: real source positions
        hidden_lbd: first hidden states
        cell_lbd: first cells
        bottom_gx: the bottom layer's weight
        upper_lgx: the upper layers' weights
        upper_bias_lg: the upper layers' biases
        query_ad: W of the additive form
        energy_a: v of the additive form
        fed_bf: what is fed back into the first step, where layers move before they look
        combine_fx: C of tanh(C [c_t; h_t]), likewise
        kept_tlbd: what hidden states are multiplied with on their way up; none without dropout
    """

    projected_tbg: Float[Tensor, "t b g"]
    keys_bsa: Float[Tensor, "b s a"]
    values_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]
    hidden_lbd: Float[Tensor, "l b d"]
    cell_lbd: Float[Tensor, "l b d"]
    bottom_gx: Float[Tensor, "g x"]
    upper_lgx: Float[Tensor, "l g x"]
    upper_bias_lg: Float[Tensor, "l g"]
    query_ad: Float[Tensor, "a d"] | None
    energy_a: Float[Tensor, " a"] | None
    fed_bf: Float[Tensor, "b f"] | None
    combine_fx: Float[Tensor, "f x"] | None
    kept_tlbd: Float[Tensor, "t l b d"] | None

    @property
    def looks_first(self) -> bool:
        """Whether a step looks before it moves."""
        return self.combine_fx is None

    @property
    def layers(self) -> int:
        """How many there are."""
        return self.hidden_lbd.size(0)

    def weight_gx(self, layer: int) -> Float[Tensor, "g x"]:
        """What a row of this layer is multiplied with."""
        return self.upper_lgx[layer - 1] if layer else self.bottom_gx


class Trail(NamedTuple):
    """What the way back needs of the way there; time t runs from 0.

    Row t of a layer is [h_{t-1}; r_t], so that gates are one product, and the products of all steps
    are one when the weights' gradient is wanted. r_t is the context or what is fed back in the
    bottom layer, and the hidden state below, after dropout, in the others.

    Attributes:
        bottom_tbx: the bottom layer's rows; one more than steps
        upper_ltbx: the upper layers'
        cell_ltbd: c_{t-1} in row t
        gates_ltbg: i, f, g, o after their sigmoids and tanh
        query_tba: W q of the additive form
        weights_tbs: where each step looked
        seen_tbx: [c_t; h_t], where layers move before they look
    """

    bottom_tbx: Float[Tensor, "t b x"]
    upper_ltbx: Float[Tensor, "l t b x"]
    cell_ltbd: Float[Tensor, "l t b d"]
    gates_ltbg: Float[Tensor, "l t b g"]
    query_tba: Float[Tensor, "t b a"] | None
    weights_tbs: Float[Tensor, "t b s"]
    seen_tbx: Float[Tensor, "t b x"] | None

    def rows_tbx(self, layer: int) -> Float[Tensor, "t b x"]:
        """The rows of a layer."""
        return self.upper_ltbx[layer - 1] if layer else self.bottom_tbx

    @property
    def hidden_tbd(self) -> Float[Tensor, "t b d"]:
        """h_t of the top layer."""
        return self.rows_tbx(len(self.upper_ltbx))[1:, :, : self.cell_ltbd.size(-1)]

    @property
    def fed_tbf(self) -> Float[Tensor, "t b f"]:
        """What is fed back: c_t into its own step, tanh(C [c_t; h_t]) into the next one."""
        rows_tbf = self.bottom_tbx[:, :, self.cell_ltbd.size(-1) :]
        return rows_tbf[:-1] if self.seen_tbx is None else rows_tbf[1:]


def empty_trail(given: Given) -> Trail:
    """Room for a trail, the first states filled in."""
    steps, sentences, gates = given.projected_tbg.shape
    layers, _, units = given.hidden_lbd.shape
    size = given.values_bse.size(2)

    def room(*shape: int) -> Tensor:
        return given.projected_tbg.new_empty(shape)

    trail = Trail(
        room(steps + 1, sentences, given.bottom_gx.size(1)),
        room(layers - 1, steps + 1, sentences, 2 * units),
        given.cell_lbd.new_empty(layers, steps + 1, sentences, units),
        room(layers, steps, sentences, gates),
        None if given.query_ad is None else room(steps, sentences, given.query_ad.size(0)),
        given.cell_lbd.new_empty(steps, sentences, given.mask_bs.size(1)),
        None if given.looks_first else room(steps, sentences, size + units),
    )
    begin(given, trail)
    return trail


def begin(given: Given, trail: Trail) -> None:
    """Write down the first states."""
    units = given.hidden_lbd.size(2)
    for layer in range(given.layers):
        trail.rows_tbx(layer)[0, :, :units] = given.hidden_lbd[layer]
    trail.cell_ltbd[:, 0] = given.cell_lbd
    if given.fed_bf is not None:
        trail.bottom_tbx[0, :, units:] = given.fed_bf


def exact_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type that sums over time run in: float32 at least."""
    return torch.promote_types(dtype, torch.float32)
