"""Schema of the corpora of an experiment: files, weights and tags."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    WrapSerializer,
)

from nmt.component_spec import PositiveFloat
from nmt.config.sections import PathSection

# Tokens of every vocabulary, besides U+2581 in place of a space.
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")


def _check_symbol(symbol: str) -> str:
    if not symbol or symbol != "".join(symbol.split()):
        raise ValueError(f"must be text without white space, got {symbol!r}")
    if "\u2581" in symbol or symbol in SPECIAL_TOKENS:
        raise ValueError(f"{symbol!r} is reserved by SentencePiece; use another symbol")
    return symbol


Symbol = Annotated[str, AfterValidator(_check_symbol)]
"""A string that is always one token."""


class CorpusOptions(PathSection):
    """One of the corpora that a text consists of."""

    path: Path
    """prefix, table or pattern of shards"""
    tag: Symbol | None = None
    """symbol before every source sentence, such as <2de> or <bt>: a token of the vocabulary, and
    the first word of the source"""
    source: str | None = None
    """suffix of the source files (default: data.source)"""
    target: str | None = None
    """suffix of the target files (default: data.target)"""


class TrainingCorpusOptions(CorpusOptions):
    """One of the corpora that the training text consists of."""

    weight: PositiveFloat = 1.0
    """how often an epoch reads each pair: 2 reads all pairs twice; 0.25 reads a quarter of them,
    and in four epochs all"""


class HeldOut(CorpusOptions):
    """Pairs of the training text that are held out from it for validation."""

    path: Path = Path()
    share: float
    """share of the pairs"""


MAX_SHARE = 0.5


def _expand_valid(value: object) -> object:
    """Convert a share of the training text, or the name of a text as in `_expand_list`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _expand_list(value)
    if not 0 < value <= MAX_SHARE:
        raise ValueError(
            f"a share of the training text must be greater than 0 and at most {MAX_SHARE}; "
            "a name of a file must be text (put it in quotes)"
        )
    return [HeldOut(share=float(value))]


def _shorten_list(corpora: list[CorpusOptions], serialize: Callable[[Any], Any]) -> Any:
    """Convert a list of one corpus to this corpus, and pairs held out to their share."""
    if corpora and isinstance(corpora[0], HeldOut):
        return corpora[0].share
    values = serialize(corpora)
    return values[0] if len(values) == 1 else values


def _expand_list(value: object) -> object:
    """Convert a corpus, or a list of corpora and file names, to a list of sections."""
    values = value if isinstance(value, list) else [value]
    return [CorpusOptions.expand(one) for one in values]


Corpora = Annotated[
    list[CorpusOptions],
    BeforeValidator(
        _expand_list, json_schema_input_type=Path | CorpusOptions | list[Path | CorpusOptions]
    ),
    WrapSerializer(_shorten_list),
]
ValidationCorpora = Annotated[
    list[CorpusOptions],
    BeforeValidator(
        _expand_valid,
        json_schema_input_type=float | Path | CorpusOptions | list[Path | CorpusOptions],
    ),
    WrapSerializer(_shorten_list),
]
TrainingCorpora = Annotated[
    list[TrainingCorpusOptions],
    BeforeValidator(
        _expand_list,
        json_schema_input_type=Path | TrainingCorpusOptions | list[Path | TrainingCorpusOptions],
    ),
    WrapSerializer(_shorten_list),
]
