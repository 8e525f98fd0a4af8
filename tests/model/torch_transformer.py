"""torch's transformer with the weights of ours."""

from typing import Any

import torch
from torch import Tensor, nn

from nmt.model.decoders.transformer import DecoderLayer, TransformerDecoder
from nmt.model.encoders.transformer import EncoderLayer, TransformerEncoder
from nmt.model.layers.multi_head import CrossAttention, SelfAttention
from nmt.model.layers.transformer import FeedForward

Weights = dict[str, Tensor]


def _under(name: str, weights: Weights) -> Weights:
    return {f"{name}.{key}": value for key, value in weights.items()}


def _linear(layer: nn.Module) -> Weights:
    return dict(layer.named_parameters())


def self_attention_weights(ours: SelfAttention) -> Weights:
    return {
        "in_proj_weight": ours.in_proj.weight,
        "in_proj_bias": ours.in_proj.bias,
        **_under("out_proj", _linear(ours.out_proj)),
    }


def cross_attention_weights(ours: CrossAttention) -> Weights:
    """Return weights for torch's module with `kdim` and `vdim`, or for equal widths."""
    key, value = ours.kv_proj.weight.chunk(2)
    query = ours.q_proj.weight
    found = {
        "in_proj_bias": torch.cat([ours.q_proj.bias, ours.kv_proj.bias]),
        **_under("out_proj", _linear(ours.out_proj)),
    }
    if key.size(1) == query.size(0):
        return {"in_proj_weight": torch.cat([query, key, value]), **found}
    return {"q_proj_weight": query, "k_proj_weight": key, "v_proj_weight": value, **found}


def _feed_forward_weights(ours: FeedForward) -> Weights:
    return {
        **_under("linear1", _linear(ours.inner)),
        **_under("linear2", _linear(ours.outer)),
    }


def _encoder_layer_weights(ours: EncoderLayer) -> Weights:
    return {
        **_under("self_attn", self_attention_weights(ours.self_attention)),
        **_feed_forward_weights(ours.feed_forward),
        **_under("norm1", _linear(ours.around_self.norm)),
        **_under("norm2", _linear(ours.around_feed.norm)),
    }


def _decoder_layer_weights(ours: DecoderLayer) -> Weights:
    return {
        **_under("self_attn", self_attention_weights(ours.self_attention)),
        **_under("multihead_attn", cross_attention_weights(ours.cross_attention)),
        **_feed_forward_weights(ours.feed_forward),
        **_under("norm1", _linear(ours.around_self.norm)),
        **_under("norm2", _linear(ours.around_cross.norm)),
        **_under("norm3", _linear(ours.around_feed.norm)),
    }


def _load(theirs: nn.Module, ours: TransformerEncoder | TransformerDecoder, read: Any) -> None:
    weights = _under("norm", _linear(ours.norm))
    for number, layer in enumerate(ours.stack):
        weights |= _under(f"layers.{number}", read(layer))
    theirs.load_state_dict(weights)  # fails if one is missing, surplus or of another shape


def torch_encoder(
    ours: TransformerEncoder, heads: int, activation: str, norm: str
) -> nn.TransformerEncoder:
    width, size = ours.output_size, _feed_forward_size(ours)
    layer = nn.TransformerEncoderLayer(
        width,
        heads,
        size,
        0.0,
        activation,
        batch_first=True,
        norm_first=norm == "pre",
        dtype=torch.float64,
    )
    top = nn.LayerNorm(width, dtype=torch.float64) if norm == "pre" else None
    theirs = nn.TransformerEncoder(layer, len(ours.stack), top, enable_nested_tensor=False)
    _load(theirs, ours, _encoder_layer_weights)
    return theirs


def torch_decoder(
    ours: TransformerDecoder, heads: int, activation: str, norm: str
) -> nn.TransformerDecoder:
    width, size = ours.output_size, _feed_forward_size(ours)
    layer = nn.TransformerDecoderLayer(
        width,
        heads,
        size,
        0.0,
        activation,
        batch_first=True,
        norm_first=norm == "pre",
        dtype=torch.float64,
    )
    top = nn.LayerNorm(width, dtype=torch.float64) if norm == "pre" else None
    theirs = nn.TransformerDecoder(layer, len(ours.stack), top)
    _load(theirs, ours, _decoder_layer_weights)
    return theirs


def _feed_forward_size(ours: TransformerEncoder | TransformerDecoder) -> int:
    first: Any = ours.stack[0]
    return int(first.feed_forward.inner.out_features)
