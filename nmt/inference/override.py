"""Attention weights that a user sets in place of the model's own."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.inference.output_selection import SelectedMemory
from nmt.model.attention.mechanism import AttentionMemory, Mechanism, ScoredMechanism
from nmt.model.attention.mechanisms.multi_head import MultiHeadAttention
from nmt.model.decoders.transformer import TransformerMemory
from nmt.model.interfaces import AnyDecoder, Memory
from nmt.model.layers.multi_head import Heads
from nmt.model.seq2seq import AlignedMemory, split_memory


def can_override(decoder: AnyDecoder, memory: Memory) -> bool:
    """Return whether `override_attention` applies to the memory of a decoder."""
    if isinstance(memory, SelectedMemory):
        memory = memory.memory
    memory, _ = split_memory(memory)
    if isinstance(memory, TransformerMemory):
        return True
    mechanisms = [part for part in decoder.modules() if isinstance(part, Mechanism)]
    return isinstance(memory, AttentionMemory) and all(
        one.normalized and (one.context_is_linear or _has_heads(one)) for one in mechanisms
    )


def _has_heads(mechanism: Mechanism) -> bool:
    # The context of each head is a sum of its part of the values.
    is_scored = isinstance(mechanism, ScoredMechanism) and mechanism.heads > 1
    return is_scored or isinstance(mechanism, MultiHeadAttention)


def override_attention(
    memory: Any, weights_bs: Float[Tensor, "b s"], given_b: Bool[Tensor, " b"]
) -> Any:
    """Return a memory with which the context of any query is c = Σ_s w_s v_s. Lee et al. 2017.

    Every value becomes that c. Since the model's own weights sum to one, their sum of the values is
    c. All heads and all layers of a Transformer attend with the weights w.

    Args:
        memory: memory of a decoder for which `can_override` is true
        weights_bs: the weights w of each sentence, which sum to one
        given_b: False for sentences that keep their own attention, to the bit
    """
    if isinstance(memory, SelectedMemory):
        return memory._replace(memory=override_attention(memory.memory, weights_bs, given_b))
    if isinstance(memory, AlignedMemory):
        return memory._replace(decoder=override_attention(memory.decoder, weights_bs, given_b))
    if isinstance(memory, AttentionMemory):
        return memory._replace(values_bse=_constant(memory.values_bse, weights_bs, given_b))
    layers = [
        Heads(heads.keys_bhsw, _constant(heads.values_bhsw, weights_bs[:, None], given_b))
        for heads in memory.layers
    ]
    return memory._replace(layers=tuple(layers))


def _constant(values: Tensor, weights: Tensor, given_b: Tensor) -> Tensor:
    """Return values that are Σ_s w_s v_s at every source position; axis -2 counts positions."""
    # In float64, so that the padding of other sentences does not show.
    context = torch.einsum("...s,...se->...e", weights.double(), values.double())
    replaced = context.to(values.dtype)[..., None, :].expand_as(values)
    return torch.where(given_b.view(-1, *[1] * (values.ndim - 1)), replaced, values)
