"""Transformers as models of CTranslate2 (Klein et al. 2020), an engine in C++."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.inference.saved_model import SavedModel
from nmt.model.decoders.transformer import TransformerDecoder
from nmt.model.encoders.transformer import TransformerEncoder
from nmt.model.layers.transformer import FeedForward, Positions
from nmt.model.seq2seq import Embedding, Seq2Seq
from nmt.version import install_command

COMPUTE_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8"}
MAX_POSITIONS = 2048  # sinusoids are a table there; longer sentences are an error of the engine


def load_engine(saved: SavedModel, *, device: torch.device, precision: str) -> Any:
    """Return a `ctranslate2.Translator` of a Transformer, whose tokens are the ids in decimal.

    Sources have to end in `</s>`; then attention weights have a column for it.

    Args:
        saved: the trained model
        device: device of the engine; on a CPU it has as many threads as torch
        precision: number format of the products

    Raises:
        UserError: ctranslate2 is not installed, the model is no Transformer, or the device does not
            support the precision
    """
    if precision not in COMPUTE_TYPES:
        message = f"is not possible with backend ctranslate2; use {', '.join(COMPUTE_TYPES)}"
        raise UserError(f"precision {precision}: {message}")
    spec = build_spec(saved.model, "backend ctranslate2", "use backend torch", saved.location)
    import ctranslate2

    assert isinstance(saved.source, Vocabulary)
    with TemporaryDirectory() as folder:
        # Strings of tokens may contain any character. Ids are distinct and have none but digits.
        sizes = len(saved.source), len(saved.target_vocabulary)
        source, target = ([*map(str, range(size))] for size in sizes)
        write_spec(Path(folder), spec, (source, target), saved.target_vocabulary)
        try:
            return ctranslate2.Translator(
                folder,
                device=device.type,
                device_index=device.index or 0,
                compute_type=COMPUTE_TYPES[precision],
                intra_threads=torch.get_num_threads(),
            )
        except (ValueError, RuntimeError) as error:
            reason = str(error).rstrip(".")
            message = f"CTranslate2 cannot translate with it on this device: {reason}"
            raise UserError(f"precision {precision}: {message}; use fp32 or int8") from None


def build_spec(model: Seq2Seq, option: str, remedy: str, location: str = "") -> Any:
    """Return the specification of a Transformer with its weights, without vocabularies.

    Args:
        model: the trained model
        option: the option that requires it, for error messages
        remedy: what to do with another model
        location: path of the model, for error messages

    Raises:
        UserError: ctranslate2 is not installed, or the model is no Transformer
    """
    encoder, decoder = model.encoder, model.decoder
    if type(encoder) is not TransformerEncoder or type(decoder) is not TransformerDecoder:
        message = f"requires the encoder and the decoder transformer; {remedy}"
        raise UserError(f"{option}: {message}", location)
    if model.alignment is not None:
        message = f"does not support model.alignment_size; {remedy}"
        raise UserError(f"{option}: {message}", location)
    try:
        from ctranslate2.specs import TransformerSpec
    except ImportError:
        message = f"requires the package ctranslate2; run {install_command('ctranslate2')}"
        raise UserError(f"{option}: {message}") from None
    return TransformerSpec(_encoder_spec(model, encoder), _decoder_spec(model, decoder))


def write_spec(
    folder: Path,
    spec: Any,
    tokens: tuple[Sequence[str], Sequence[str]],
    target: Vocabulary,
    *,
    quantization: str | None = None,
) -> None:
    """Write a specification as the files of a model.

    Args:
        folder: folder of the files
        spec: the specification
        tokens: name of each source token, and of each target token
        target: target vocabulary, which knows the special tokens
        quantization: number format of the weights; None for float32
    """
    source_tokens, target_tokens = tokens
    spec.register_source_vocabulary(source_tokens)
    spec.register_target_vocabulary(target_tokens)
    bos, eos, unk = (target_tokens[one] for one in (target.bos, target.eos, target.unk))
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = bos, eos, unk
    spec.config.decoder_start_token = bos
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))


def _encoder_spec(model: Seq2Seq, encoder: TransformerEncoder) -> Any:
    from ctranslate2.specs.transformer_spec import TransformerEncoderSpec

    is_pre_norm = isinstance(encoder.norm, nn.LayerNorm)
    first: Any = encoder.stack[0]
    spec = TransformerEncoderSpec(
        len(encoder.stack),
        first.self_attention.heads,
        pre_norm=is_pre_norm,
        activation=_activation(first.feed_forward),
    )
    embedding = model.source_embedding
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


def _decoder_spec(model: Seq2Seq, decoder: TransformerDecoder) -> Any:
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
    _set_embedding(spec, spec.embeddings, model.target_embedding, decoder.positions)
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
    _set_linear(spec.projection, model.output_layer)
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
