"""Extension of a vocabulary by tokens of another text, whose ids follow its own ids.

A serialized SentencePiece model is a protobuf message, which fields of new tokens after it extend.
"""

from collections.abc import Iterable, Mapping, Sequence

from nmt.data.vocabularies.protobuf import (
    KIND,
    MODEL_TYPE,
    NORMAL,
    PIECE,
    PIECES,
    SCORE,
    TRAINER_SPEC,
    USER_DEFINED,
    read_fields,
    write_field,
)
from nmt.data.vocabularies.sentencepiece import SPACE, SentencePieceVocabulary
from nmt.data.vocabularies.sentencepiece_training import (
    IDENTITY,
    NUM_SPECIAL_TOKENS,
    VocabularyType,
    advisable_size,
    train_sentencepiece,
)
from nmt.data.vocabularies.words import WordVocabulary, by_frequency
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError

ExtensibleVocabulary = SentencePieceVocabulary | WordVocabulary

# Types of models that can be extended.
TYPES: dict[int, VocabularyType] = {1: "unigram", 2: "bpe", 4: "char"}


def learn_extension(
    vocabulary: ExtensibleVocabulary,
    lines: Sequence[str],
    *,
    size: int,
    symbols: Sequence[str],
    character_coverage: float = 1.0,
) -> dict[str, float]:
    """Learn tokens of a text that a vocabulary lacks; return their scores.

    Of a SentencePiece vocabulary, one of the same type is learned from the text, as the given one
    normalizes it, and its tokens that are not in the given one are returned. Others get the most
    frequent words that are unknown, or of merge operations the characters.

    Args:
        vocabulary: the vocabulary to extend
        lines: the text
        size: size of the vocabulary that is learned; less for a small text
        symbols: symbols that the text contains
        character_coverage: share of the characters of the text that become tokens

    Raises:
        UserError: if the text does not suit the options
    """
    if isinstance(vocabulary, WordVocabulary):
        unknown = by_frequency(extend(vocabulary, {}, symbols).count_unknown(lines))
        return dict.fromkeys(unknown[: size - NUM_SPECIAL_TOKENS], 0.0)
    normalized = [vocabulary.normalize(line) for line in lines]
    required = len(set().union(*normalized)) + len(symbols) + NUM_SPECIAL_TOKENS
    learned = SentencePieceVocabulary(
        train_sentencepiece(
            normalized,
            size=min(size, advisable_size(len(lines), required)),
            type=model_type(vocabulary),
            byte_fallback=False,
            normalization=IDENTITY,
            character_coverage=character_coverage,
            user_defined_symbols=symbols,
            is_exact=False,
        )
    )
    ids = range(len(learned))
    special = {*learned.special_tokens, learned.unk}
    known = {*vocabulary.tokens(range(len(vocabulary))), *symbols, *learned.tokens(special)}
    scores = zip(learned.tokens(ids), learned.scores(), strict=True)
    return {token: score for token, score in scores if token not in known}


def extend(
    vocabulary: ExtensibleVocabulary, tokens: Mapping[str, float], symbols: Iterable[str] = ()
) -> ExtensibleVocabulary:
    """Return a vocabulary with more tokens.

    Args:
        vocabulary: the vocabulary
        tokens: new tokens and their scores by `learn_extension`
        symbols: strings that are always one token; those that are one already are ignored
    """
    if isinstance(vocabulary, WordVocabulary):
        return vocabulary.extended(tokens, symbols)
    if model_type(vocabulary) == "bpe":
        # The score is the priority of a merge: new merges follow those of the vocabulary.
        lowest = min(vocabulary.scores())
        ranked = sorted(tokens, key=lambda token: -tokens[token])
        tokens = {token: lowest - rank for rank, token in enumerate(ranked, start=1)}
    pieces = [
        _token_field(symbol, 0.0, USER_DEFINED)
        for symbol in symbols
        if not vocabulary.has_symbol(symbol)
    ]
    pieces += [_token_field(token, score, NORMAL) for token, score in tokens.items()]
    return SentencePieceVocabulary(vocabulary.serialized + b"".join(pieces))


def model_type(vocabulary: SentencePieceVocabulary) -> VocabularyType:
    """Return the type of a model.

    Raises:
        UserError: if tokens of this type cannot be learned
    """
    number = 1  # the default of the format
    for field, value in read_fields(vocabulary.serialized):
        if field == TRAINER_SPEC and isinstance(value, bytes):
            for inner, kind in read_fields(value):
                number = kind if inner == MODEL_TYPE and isinstance(kind, int) else number
    if number not in TYPES:
        raise UserError(f"a SentencePiece model of type {number} cannot be extended; replace it")
    return TYPES[number]


def token_parts(old: Vocabulary, new: Vocabulary) -> list[list[int]]:
    """Return the ids in one vocabulary of the parts of each token of another.

    A token of both vocabularies is its only part. Of other tokens, parts that are unknown are left
    out, and nothing may remain.
    """
    ids = {token: number for number, token in reversed([*enumerate(old.tokens(range(len(old))))])}
    roles = {new.pad: old.pad, new.bos: old.bos, new.eos: old.eos, new.unk: old.unk}
    surface = new.surface if isinstance(new, WordVocabulary) else str
    return [
        [roles[number]]
        if number in roles
        else [ids[token]]
        if token in ids
        else _parts(old, surface(token))
        for number, token in enumerate(new.tokens(range(len(new))))
    ]


def _parts(old: Vocabulary, token: str) -> list[int]:
    parts = [number for number in old.encode(token.replace(SPACE, " ")) if number != old.unk]
    # SentencePiece adds a space before a text.
    added = old.tokens(parts[:1]) == [SPACE] and not token.startswith(SPACE)
    return parts[1:] if added else parts


def _token_field(token: str, score: float, kind: int) -> bytes:
    """Return the field of a token in a model."""
    fields = (PIECE, token.encode()), (SCORE, float(score)), (KIND, kind)
    return write_field(PIECES, b"".join(write_field(*field) for field in fields))
