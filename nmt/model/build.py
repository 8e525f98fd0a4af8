"""The one place where parts are wired together: sizes flow from the source to the output layer."""

from collections.abc import Mapping
from typing import Any

import torch

from nmt.config.schema import ModelConfig, RecurrenceBackend
from nmt.data.images import ImageSize
from nmt.errors import UserError
from nmt.model.attention.mechanism import Mechanism
from nmt.model.decoders.recurrent import RecurrentDecoder
from nmt.model.embeddings import Embedding
from nmt.model.interfaces import Decoder, Encoder
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import DECODERS, ENCODERS, MECHANISMS, SCORES, ComponentConfig, Registry


def build_model(
    config: ModelConfig,
    source: int | ImageSize,
    target_pieces: int,
    *,
    recurrence: RecurrenceBackend = "auto",
) -> Seq2Seq:
    """The model of an experiment file, with first values from torch's global generator.

    Args:
        config: the `model` section
        source: size of the source vocabulary, or format of the source images
        target_pieces: size of the target vocabulary
        recurrence: `training.recurrence`

    Raises:
        UserError: when parts do not fit together
    """
    size = config.embedding_size
    pictured = isinstance(source, ImageSize)
    offered: dict[str, Any] = {"image_size": source} if pictured else {"embedding_size": size}
    encoder = _build(ENCODERS, config.encoder, offered)
    assert isinstance(encoder, Encoder)

    def attention(query_size: int) -> Mechanism:
        assert config.attention is not None
        offered: dict[str, Any] = {"query_size": query_size, "key_size": encoder.output_size}
        if config.score is not None:
            offered["score"] = _build(SCORES, config.score, offered)
        mechanism = _build(MECHANISMS, config.attention, offered)
        assert isinstance(mechanism, Mechanism)
        return mechanism

    offered = {"embedding_size": size, "source": encoder.sizes, "attention": attention}
    decoder = _build(DECODERS, config.decoder, offered)
    set_backend(decoder, recurrence)
    try:
        return Seq2Seq(
            None
            if isinstance(source, ImageSize)
            else Embedding(
                source,
                size,
                config.embedding_dropout,
                tied=config.tied_embeddings == "all",
            ),
            encoder,
            Embedding(
                target_pieces,
                size,
                config.embedding_dropout,
                tied=config.tied_embeddings != "none",
            ),
            decoder,
            tied=config.tied_embeddings,
        )
    except ValueError as error:
        raise UserError(f"model: {error}") from error


def _build(registry: Registry[Any], choice: ComponentConfig, offered: Mapping[str, Any]) -> Any:
    """The part of this choice, given those of the offered things that it asks for by name."""
    wired = registry.find(choice.type).injected
    odd = [name for name in wired if name not in offered]
    if odd:
        raise UserError(
            f"{registry.family} '{choice.type}' asks for '{odd[0]}'; what the program hands it "
            f"stands left of the `*`, and is {', '.join(offered)}"
        )
    return registry.build(choice, *(offered[name] for name in wired))


def set_backend(decoder: Decoder, recurrence: RecurrenceBackend) -> None:
    """Set how a recurrent decoder runs over a known target.

    Raises:
        UserError: when the fused recurrence is required and does not support the decoder
    """
    supported = isinstance(decoder, RecurrentDecoder) and decoder.supports_fused
    if recurrence == "fused" and not supported:
        raise UserError(
            "the fused recurrence requires a decoder with LSTM layers, global attention without "
            "coverage, a score other than cosine and location, and input feeding; use auto"
        )
    if isinstance(decoder, RecurrentDecoder):
        decoder.backend = recurrence


def check_model(
    config: ModelConfig, *, joint: bool, image_size: ImageSize | None = None
) -> Seq2Seq:
    """Build the model without memory for its parameters, to see that its parts fit together.

    Args:
        config: the `model` section
        joint: whether both sides have one vocabulary
        image_size: format of the source images, if the source is images

    Raises:
        UserError: when they do not
    """
    with torch.device("meta"):
        return build_model(config, image_size or 8, 8 if joint else 9)
