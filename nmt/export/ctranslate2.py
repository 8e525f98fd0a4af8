"""Transformers as models of CTranslate2 (Klein et al. 2020), an engine in C++."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.export.engines import check_text_model, write_companions
from nmt.inference.saved_model import SavedModel
from nmt.model.decoders.transformer import TransformerDecoder
from nmt.model.encoders.transformer import TransformerEncoder
from nmt.model.layers.transformer import FeedForward, Positions
from nmt.model.seq2seq import Embedding
from nmt.storage.atomic import publish_dir, staging_dir
from nmt.version import install_command

Precision = Literal["fp32", "bf16", "int8"]

QUANTIZATION = {"fp32": None, "bf16": "bfloat16", "int8": "int8"}
MAX_POSITIONS = 2048  # sinusoids are a table there; longer sentences are an error of the engine


def write_ctranslate2(folder: Path, saved: SavedModel, precision: Precision = "fp32") -> None:
    """Write a Transformer as a model of CTranslate2, with its vocabularies and an example.

    Args:
        folder: a new folder
        saved: the trained model
        precision: number format of the weights

    Raises:
        UserError: ctranslate2 is not installed, or the model is no Transformer
    """
    encoder, decoder, source = saved.model.encoder, saved.model.decoder, saved.source
    if type(encoder) is not TransformerEncoder or type(decoder) is not TransformerDecoder:
        message = "requires the encoder and the decoder transformer; write FILE.nmt or --onnx"
        raise UserError(f"--ctranslate2: {message}")
    check_text_model(saved, "ctranslate2")
    try:
        from ctranslate2.specs import TransformerSpec
    except ImportError:
        message = f"requires the package ctranslate2; run {install_command('ctranslate2')}"
        raise UserError(f"--ctranslate2: {message}") from None
    assert isinstance(source, Vocabulary)
    target = saved.target_vocabulary
    spec = TransformerSpec(_encoder_spec(saved, encoder), _decoder_spec(saved, decoder))
    spec.register_source_vocabulary(source.tokens(range(len(source))))
    spec.register_target_vocabulary(target.tokens(range(len(target))))
    bos, eos, unk = target.tokens([target.bos, target.eos, target.unk])
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = bos, eos, unk
    spec.config.decoder_start_token, spec.config.add_source_eos = bos, True
    spec.validate()
    spec.optimize(quantization=QUANTIZATION[precision])
    with staging_dir(folder.parent, folder.name) as staging:
        spec.save(str(staging))
        write_companions(staging, saved, "translate_ctranslate2.py")
        publish_dir(staging, folder)


def _encoder_spec(saved: SavedModel, encoder: TransformerEncoder) -> Any:
    from ctranslate2.specs.transformer_spec import TransformerEncoderSpec

    is_pre_norm = isinstance(encoder.norm, nn.LayerNorm)
    first: Any = encoder.stack[0]
    spec = TransformerEncoderSpec(
        len(encoder.stack),
        first.self_attention.heads,
        pre_norm=is_pre_norm,
        activation=_activation(first.feed_forward),
    )
    embedding = saved.model.source_embedding
    assert embedding is not None
    _set_embedding(spec, spec.embeddings[0], embedding, encoder.positions)
    for layer, module in zip(spec.layer, encoder.stack, strict=True):
        _set_attention(
            layer.self_attention,
            module.around_self.norm,
            module.self_attention.in_proj,
            module.self_attention.out_proj,
        )
        _set_feed_forward(layer.ffn, module.feed_forward, module.around_feed.norm)
    if is_pre_norm:
        _set_norm(spec.layer_norm, encoder.norm)
    return spec


def _decoder_spec(saved: SavedModel, decoder: TransformerDecoder) -> Any:
    from ctranslate2.specs.transformer_spec import TransformerDecoderSpec

    is_pre_norm = isinstance(decoder.norm, nn.LayerNorm)
    first: Any = decoder.stack[0]
    spec = TransformerDecoderSpec(
        len(decoder.stack),
        decoder.heads,
        pre_norm=is_pre_norm,
        activation=_activation(first.feed_forward),
        alignment_layer=decoder.alignment_layer - 1,
        # The engine knows the first head, or the mean of the first ones.
        alignment_heads=1 if decoder.alignment_head == 1 else decoder.heads,
    )
    _set_embedding(spec, spec.embeddings, saved.model.target_embedding, decoder.positions)
    for layer, module in zip(spec.layer, decoder.stack, strict=True):
        _set_attention(
            layer.self_attention,
            module.around_self.norm,
            module.self_attention.in_proj,
            module.self_attention.out_proj,
        )
        _set_attention(
            layer.attention,
            module.around_cross.norm,
            module.cross_attention.q_proj,
            module.cross_attention.kv_proj,
            module.cross_attention.out_proj,
        )
        _set_feed_forward(layer.ffn, module.feed_forward, module.around_feed.norm)
    if is_pre_norm:
        _set_norm(spec.layer_norm, decoder.norm)
    _set_linear(spec.projection, saved.model.output_layer)
    return spec


def _activation(feed_forward: FeedForward) -> Any:
    from ctranslate2.specs.common_spec import Activation

    is_relu = feed_forward.activation is torch.nn.functional.relu
    return Activation.RELU if is_relu else Activation.GELU


def _set_embedding(spec: Any, table: Any, embedding: Embedding, positions: Positions) -> None:
    # The engine multiplies by the root of the width, as `Embedding` does with a tied table.
    spec.scale_embeddings = embedding.scale != 1.0
    table.weight = _array(embedding.weight)
    learned = getattr(positions, "table_tm", None)
    count = MAX_POSITIONS if learned is None else len(learned)
    rows_tm = positions.rows(0, count, embedding.weight)
    spec.position_encodings.encodings = _array(rows_tm.float())


def _set_attention(spec: Any, norm: nn.Module, *projections: nn.Module) -> None:
    for linear, module in zip(spec.linear, projections, strict=True):
        _set_linear(linear, module)
    _set_norm(spec.layer_norm, norm)


def _set_feed_forward(spec: Any, module: FeedForward, norm: nn.Module) -> None:
    _set_linear(spec.linear_0, module.inner)
    _set_linear(spec.linear_1, module.outer)
    _set_norm(spec.layer_norm, norm)


def _set_linear(spec: Any, module: nn.Module) -> None:
    spec.weight, spec.bias = _array(module.weight), _array(module.bias)


def _set_norm(spec: Any, module: nn.Module) -> None:
    spec.gamma, spec.beta = _array(module.weight), _array(module.bias)


def _array(tensor: Any) -> Any:
    assert isinstance(tensor, Tensor)
    return tensor.detach().contiguous().numpy()
