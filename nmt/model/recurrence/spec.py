"""Description of a recurrence with attention: the tensors that the fused computation reads."""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.model.attention.mechanism import AttentionMemory, Mechanism, ScoredMechanism
from nmt.model.attention.score import BilinearScore, TanhScore
from nmt.model.layers.recurrent import LayerState, RecurrentLayer


class AttentionOrder(Enum):
    """Order of attention and state update within a step.

    BEFORE: c_t = attend(h_{t-1}), and the context c_t enters the bottom layer of step t. Bahdanau
        et al. 2014, section 3.1.
    AFTER: c_t = attend(h_t), and h~_t = tanh(C [c_t; h_t]) enters the bottom layer of step t + 1.
        Luong et al. 2015, sections 3 and 3.3.
    """

    BEFORE = "before"
    AFTER = "after"


class LayerWeights(NamedTuple):
    """Weights of an LSTM layer.

    Attributes:
        weight_gx: [V C], multiplied by [h_{t-1}; r_t], where r_t enters the layer at each step
        bias_g: bias of the gates; None in the bottom layer, whose projected input contains it
    """

    weight_gx: Float[Tensor, "g x"]
    bias_g: Float[Tensor, " g"] | None


class InputFeed(NamedTuple):
    """Input feeding of Luong et al. 2015, section 3.3: h~_t = tanh(C [c_t; h_t]).

    Attributes:
        first_bf: h~ that enters the first step
        weight_fx: C
    """

    first_bf: Float[Tensor, "b f"]
    weight_fx: Float[Tensor, "f x"]


class RecurrenceSpec(NamedTuple):
    """Stacked LSTM layers with global attention over a source.

    The energies are bilinear, q·k, or additive, v·tanh(W q + k), with the hidden state of the top
    layer as the query q. With several heads, q, k, v and the values consist of one part per head,
    and the context is [c_1; ...; c_h].

    Attributes:
        keys_bsa: k of every source position
        values_bse: vectors whose weighted sum is the context
        mask_bs: True for real source positions
        query_ad: W; None in the bilinear form with one head, and where the additive form is
            v·tanh(q + k)
        v_a: v of the additive form; None in the bilinear form
        heads: number h of heads
        states: initial states, from the bottom layer up
        layers: weights, from the bottom layer up
        order: whether a step attends before or after the layers update their states
        input_feed: how attention enters the next step; None unless `order` is AFTER
        dropout: dropout rate between layers, zero outside training
    """

    keys_bsa: Float[Tensor, "b s a"]
    values_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]
    query_ad: Float[Tensor, "a d"] | None
    v_a: Float[Tensor, " a"] | None
    heads: int
    states: tuple[LayerState, ...]
    layers: tuple[LayerWeights, ...]
    order: AttentionOrder
    input_feed: InputFeed | None
    dropout: float


def build_spec(
    layers: Iterable[RecurrentLayer],
    states: tuple[LayerState, ...],
    attention: Mechanism,
    memory: AttentionMemory,
    *,
    order: AttentionOrder,
    input_feed: InputFeed | None = None,
    dropout: float = 0.0,
) -> RecurrenceSpec:
    """Build the description of modules that declare `supports_fused`.

    Args:
        layers: from the bottom up; the bottom layer reads the context or the input feed
        states: their initial states
        attention: attention with the hidden state of the top layer as the query
        memory: keys and values of the source
        order: whether a step attends before or after the layers update their states
        input_feed: how attention enters the next step, for the order AFTER
        dropout: dropout rate between layers, zero outside training
    """
    # Only subclasses of these can support the fused recurrence: it reads their attributes.
    assert isinstance(attention, ScoredMechanism)
    score = attention.score
    assert isinstance(score, BilinearScore | TanhScore)
    keys_bsa, query_ad, v_a = memory.keys_bsa, score.query_matrix(), None
    if isinstance(score, TanhScore):
        v_a = score.v_a
    else:
        # (c W q)·k = q·(c Wᵀk): project the keys once per sentence, not the query at each step.
        # With several heads, keys would then be as wide as the query, instead of a fraction of it.
        if query_ad is not None and score.heads == 1:
            keys_bsa, query_ad = keys_bsa @ query_ad, None
        if score.query_scale != 1:
            keys_bsa = keys_bsa * score.query_scale
    return RecurrenceSpec(
        keys_bsa,
        memory.values_bse,
        memory.mask_bs,
        query_ad,
        v_a,
        score.heads,
        states,
        tuple(_layer_weights(layers)),
        order,
        input_feed,
        dropout,
    )


def _layer_weights(layers: Iterable[RecurrentLayer]) -> Iterator[LayerWeights]:
    # The input of the bottom layer is projected before the loop, with its bias.
    bottom, *upper = layers
    yield LayerWeights(bottom.recurrent.weight, None)
    for layer in upper:
        # The input of an upper layer, h_t of the layer below, is known only at step t.
        weight_gx = torch.cat([layer.recurrent.weight, layer.input.weight], dim=1)
        yield LayerWeights(weight_gx, layer.bias)
