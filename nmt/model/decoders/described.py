"""A decoder's parts in the terms of the fused recurrence, where it serves them."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.attention.mechanism import AttentionMemory, Mechanism
from nmt.model.attention.mechanisms.global_attention import GlobalAttention
from nmt.model.attention.score import BilinearScore, TanhScore
from nmt.model.layers.cell import LayerState
from nmt.model.layers.lstm import LSTMLayer
from nmt.model.recurrence.described import LayerWeights, Recurrence


def describe(
    layers: Iterable[nn.Module],
    states: tuple[LayerState, ...],
    attention: Mechanism,
    memory: AttentionMemory,
    *,
    dropout: float = 0.0,
    fed: tuple[Float[Tensor, "b f"], ...] = (),
    combine_fx: Float[Tensor, "f x"] | None = None,
) -> Recurrence | None:
    """The recurrence of these parts; None where only the plain loop goes.

    Served are LSTMs under global attention without coverage, by a score of the bilinear or of the
    additive form whose `project` is linear. The mechanism has to be that very class: one derived
    from it may read in another way.

    Args:
        layers: from the bottom one up; the feedback enters the bottom one
        states: their first states
        attention: how the top layer looks
        memory: what it looks at
        dropout: share of units dropped between layers, zero outside training
        fed: what is fed back into the first step, where layers move before they look
        combine_fx: C of tanh(C [c_t; h_t]), likewise
    """
    lstms = [layer for layer in layers if isinstance(layer, LSTMLayer) and _serves(layer)]
    if len(lstms) < len(states) or type(attention) is not GlobalAttention or attention.recurrent:
        return None
    score = attention.score
    if not score.linear or not isinstance(score, BilinearScore | TanhScore):
        return None
    query_ad = _query(score, states[-1].hidden_nd)
    keys_bsa, energy_a = memory.keys_bsa, None
    if isinstance(score, TanhScore):
        energy_a = score.energy_a
    elif query_ad is not None:
        # (W q)·k = q·(Wᵀ k): once a sentence, not once a step.
        keys_bsa, query_ad = keys_bsa @ query_ad, None
    return Recurrence(
        keys_bsa,
        memory.values_bse,
        memory.mask_bs,
        query_ad,
        energy_a,
        states,
        tuple(_weights(lstms)),
        fed[0] if fed else None,
        combine_fx=combine_fx,
        dropout=dropout,
    )


def _serves(layer: LSTMLayer) -> bool:
    return type(layer) is LSTMLayer and not layer.is_fixed


def _query(score: BilinearScore | TanhScore, like: Tensor) -> Float[Tensor, "a d"] | None:
    """The matrix of `project`, read off the unit vectors; None where it leaves a query as it is."""
    if type(score).project is BilinearScore.project:
        return None
    dtype = like.dtype
    if torch.is_autocast_enabled(like.device.type):
        dtype = torch.promote_types(dtype, torch.float32)
    units_1dd = torch.eye(score.query_size, dtype=dtype, device=like.device)[None]
    return score.project(units_1dd)[0].mT


def _weights(layers: Sequence[LSTMLayer]) -> Iterable[LayerWeights]:
    bottom, *upper = layers
    yield LayerWeights(bottom.recurrent.weight, None)
    for layer in upper:
        weight_gx = torch.cat([layer.recurrent.weight, layer.input.weight], dim=1)
        yield LayerWeights(weight_gx, layer.bias)
