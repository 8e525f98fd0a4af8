"""A recurrence in numbers: all that the fused way has to know of a decoder."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from nmt.model.layers.cell import LayerState


class LayerWeights(NamedTuple):
    """Of an LSTM: [V C] for [h_{t-1}; r_t], r_t being what enters at each step.

    The bias is None in the bottom layer, where it is part of what the input gives to the gates.
    """

    weight_gx: Float[Tensor, "g x"]
    bias_g: Float[Tensor, " g"] | None


class Recurrence(NamedTuple):
    """LSTMs on top of each other, and global attention over a source.

    The energies are q·k, or v·tanh(W q + k) where there are v and W. Without `combine_fx` the top
    layer looks with the state before and the context enters the bottom layer, as in Bahdanau et al.
    2014; with it the layers move first, and tanh(C [c_t; h_t]) is fed back, as in Luong et al.
    2015.

    Attributes:
        keys_bsa: k of every source position
        values_bse: what a context is made of
        mask_bs: real source positions
        query_ad: W
        energy_a: v
        states: first states, from the bottom layer up
        layers: weights, from the bottom layer up
        fed_bf: what is fed back into the first step, beside C
        combine_fx: C
        dropout: share of units dropped between layers, zero outside training
    """

    keys_bsa: Float[Tensor, "b s a"]
    values_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]
    query_ad: Float[Tensor, "a d"] | None
    energy_a: Float[Tensor, " a"] | None
    states: tuple[LayerState, ...]
    layers: tuple[LayerWeights, ...]
    fed_bf: Float[Tensor, "b f"] | None = None
    combine_fx: Float[Tensor, "f x"] | None = None
    dropout: float = 0.0
