"""Assembly of a model from its configuration: sizes pass from the source to the output layer."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch.overrides import TorchFunctionMode

from nmt.config.choices import RecurrenceBackend, TiedEmbeddings
from nmt.data.images import ImageSize
from nmt.errors import UserError
from nmt.model.attention.mechanism import Mechanism
from nmt.model.attention.mechanisms.global_attention import GlobalAttention
from nmt.model.attention.scores.additive import AdditiveScore
from nmt.model.decoders.recurrent import RecurrentDecoder
from nmt.model.interfaces import AnyDecoder
from nmt.model.seq2seq import Embedding, Seq2Seq
from nmt.registry import DECODERS, ENCODERS, MECHANISMS, SCORES, ComponentConfig, Registry

Component = TypeVar("Component")

CHECKED_TOKENS = 8  # size of the vocabularies of a model that is only checked


# Not the section itself, whose import needs pydantic; checked at run time in the tests.
@runtime_checkable
class ModelOptions(Protocol):
    """The section `model` of an experiment; see `ModelConfig`."""

    @property
    def embedding_size(self) -> int: ...
    @property
    def embedding_dropout(self) -> float: ...
    @property
    def source_word_dropout(self) -> float: ...
    @property
    def target_word_dropout(self) -> float: ...
    @property
    def tied_embeddings(self) -> TiedEmbeddings: ...
    @property
    def alignment_size(self) -> int | None: ...
    @property
    def encoder(self) -> ComponentConfig: ...
    @property
    def decoder(self) -> ComponentConfig: ...
    @property
    def attention(self) -> ComponentConfig | None: ...
    @property
    def score(self) -> ComponentConfig | None: ...


def build_model(
    config: ModelOptions,
    source: int | ImageSize,
    target_tokens: int,
    *,
    recurrence: RecurrenceBackend = "auto",
) -> Seq2Seq:
    """Build the model of an experiment, initialized by torch's global random number generator.

    Args:
        config: the `model` section
        source: size of the source vocabulary, or size of the source images
        target_tokens: size of the target vocabulary
        recurrence: `training.recurrence`

    Raises:
        UserError: components do not fit together
    """
    size, dropout, tied = config.embedding_size, config.embedding_dropout, config.tied_embeddings
    is_image = isinstance(source, ImageSize)
    offered: dict[str, Any] = {"image_size": source} if is_image else {"embedding_size": size}
    encoder = _build(ENCODERS, config.encoder, offered)

    def attention(query_size: int) -> Mechanism:
        # The decoder calls this function, because it alone knows the width of its queries.
        assert config.attention is not None
        offered: dict[str, Any] = {"query_size": query_size, "key_size": encoder.output_size}
        if config.score is not None:
            offered["score"] = _build(SCORES, config.score, offered)
        return _build(MECHANISMS, config.attention, offered)

    offered = {"embedding_size": size, "source": encoder.sizes, "attention": attention}
    decoder: AnyDecoder = _build(DECODERS, config.decoder, offered)
    # Cells cost one more input column in each layer, so they are kept only if needed.
    encoder.keeps_cells = decoder.needs_cells
    set_backend(decoder, recurrence)
    # A tied embedding has the initialization of an output layer.
    source_embedding = None
    if not isinstance(source, ImageSize):
        source_embedding = Embedding(
            source, size, dropout, config.source_word_dropout, tied=tied == "all"
        )
    target_embedding = Embedding(
        target_tokens, size, dropout, config.target_word_dropout, tied=tied != "none"
    )
    alignment = None
    if config.alignment_size is not None:
        sizes = decoder.output_size + size, encoder.output_size
        alignment = GlobalAttention(AdditiveScore(*sizes, hidden_size=config.alignment_size))
    try:
        return Seq2Seq(
            source_embedding, encoder, target_embedding, decoder, alignment=alignment, tied=tied
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def _build(
    registry: Registry[Component], config: ComponentConfig, offered: Mapping[str, Any]
) -> Component:
    """Build a component with those of the offered values that its constructor names."""
    injected = registry.find(config.type).injected
    unknown = [name for name in injected if name not in offered]
    if unknown:
        raise UserError(
            f"{registry.family} '{config.type}' has an unknown injected parameter '{unknown[0]}'; "
            f"to the left of `*` can stand {', '.join(offered)}"
        )
    return registry.build(config, *(offered[name] for name in injected))


def set_backend(decoder: AnyDecoder, recurrence: RecurrenceBackend) -> None:
    """Set how a recurrent decoder runs over known targets.

    Raises:
        UserError: the fused recurrence is required and does not support the decoder
    """
    supported = isinstance(decoder, RecurrentDecoder) and decoder.supports_fused
    if recurrence == "fused" and not supported:
        raise UserError(
            "the fused recurrence requires a decoder with LSTM layers without zoneout and "
            "layer_norm, global attention without coverage and dropout, a score with one head "
            "other than cosine and location, and input feeding; use auto"
        )
    if isinstance(decoder, RecurrentDecoder):
        decoder.backend = recurrence


def check_model(
    config: ModelOptions, *, joint: bool, image_size: ImageSize | None = None
) -> Seq2Seq:
    """Build the model without memory for its parameters, to check that its components fit.

    Args:
        config: the `model` section
        joint: whether both sides have one vocabulary
        image_size: size of the source images, if the source is images

    Raises:
        UserError: they do not fit
    """
    # Different sizes, so that tying the tables of separate vocabularies fails here already.
    target_tokens = CHECKED_TOKENS if joint else CHECKED_TOKENS + 1
    return build_meta_model(config, image_size or CHECKED_TOKENS, target_tokens)


class _SkipNormal(TorchFunctionMode):
    """Skip normal initialization, which on the meta device imports torch's compiler for seconds."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.nn.init.normal_, torch.Tensor.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def build_meta_model(config: ModelOptions, source: int | ImageSize, target_tokens: int) -> Seq2Seq:
    """Build a model without memory for its parameters; see `build_model`."""
    with torch.device("meta"), _SkipNormal():
        return build_model(config, source, target_tokens)
