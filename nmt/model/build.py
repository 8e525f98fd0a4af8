"""The one place where parts are wired together: sizes flow from the source to the output layer."""

import torch

from nmt.config.schema import ModelConfig
from nmt.errors import UserError
from nmt.model.attention.mechanism import Mechanism
from nmt.model.embeddings import Embedding
from nmt.model.layers.bridge import SourceSizes
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import DECODERS, ENCODERS, MECHANISMS, SCORES


def build_model(config: ModelConfig, source_pieces: int, target_pieces: int) -> Seq2Seq:
    """The model of an experiment file, with first values from torch's global generator.

    Args:
        config: the `model` section
        source_pieces: size of the source vocabulary
        target_pieces: size of the target vocabulary

    Raises:
        UserError: when parts do not fit together
    """
    assert config.encoder is not None and config.decoder is not None
    size = config.embedding_size
    encoder = ENCODERS.build(config.encoder, size)
    source = SourceSizes(encoder.output_size, encoder.summary_size, encoder.layers)

    def attention(query_size: int) -> Mechanism:
        assert config.attention is not None
        scores = []
        if "score" in MECHANISMS.find(config.attention.type).wired:
            assert config.score is not None
            scores = [SCORES.build(config.score, query_size, encoder.output_size)]
        mechanism = MECHANISMS.build(config.attention, *scores)
        assert isinstance(mechanism, Mechanism)
        return mechanism

    looks = "attention" in DECODERS.find(config.decoder.type).wired
    decoder = DECODERS.build(config.decoder, size, source, *([attention] if looks else []))
    try:
        return Seq2Seq(
            Embedding(
                source_pieces,
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


def check_model(config: ModelConfig, *, joint: bool) -> None:
    """Build the model without memory for its parameters, to see that its parts fit together.

    Raises:
        UserError: when they do not
    """
    pieces = (8, 8) if joint else (8, 9)
    with torch.device("meta"):
        build_model(config, *pieces)
