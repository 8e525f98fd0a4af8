"""Hangul syllables as their letters, which are called jamo, in SentencePiece models.

The Unicode Standard composes 11,172 syllables of two or three jamo each (section 3.12). As tokens
of a target they need no syllable to occur in the training text, and a transliteration model chooses
consonants and vowels one by one.
"""

import unicodedata
from functools import cache

import sentencepiece as spm

from nmt.data.vocabularies.protobuf import (
    CHARSMAP,
    DENORMALIZER_SPEC,
    DUMMY_PREFIX,
    ESCAPE_SPACES,
    NORMALIZER_SPEC,
    REMOVE_SPACES,
    RULE_NAME,
    read_fields,
    write_field,
)

# Name of the normalization rule that divides syllables, and changes no other character.
JAMO = "jamo"

SYLLABLES = [*map(chr, range(0xAC00, 0xD7A4))]


def make_jamo_normalizer() -> spm.SentencePieceNormalizer:
    """Return the normalizer that divides syllables into jamo."""
    return spm.SentencePieceNormalizer(
        normalizer_spec=write_field(CHARSMAP, _charsmaps()[0]),
        add_dummy_prefix=False,
        escape_whitespaces=False,
        remove_extra_whitespaces=False,
    )


def add_jamo(model_proto: bytes) -> bytes:
    """Return a model that divides syllables into jamo, and joins them again in decoded text.

    Args:
        model_proto: a model without normalization rule, whose tokens consist of jamo
    """
    divide, join = (
        write_field(RULE_NAME, JAMO.encode()) + write_field(CHARSMAP, charsmap)
        for charsmap in _charsmaps()
    )
    # By default SentencePiece would add a space before decoded text.
    join += b"".join(write_field(one, 0) for one in (DUMMY_PREFIX, REMOVE_SPACES, ESCAPE_SPACES))
    return model_proto + write_field(NORMALIZER_SPEC, divide) + write_field(DENORMALIZER_SPEC, join)


@cache
def _charsmaps() -> tuple[bytes, bytes]:
    """Return the compiled rules that divide and join syllables."""
    divided = [unicodedata.normalize("NFD", syllable) for syllable in SYLLABLES]
    return _compile(SYLLABLES, divided), _compile(divided, SYLLABLES)


def _compile(replaced: list[str], replacements: list[str]) -> bytes:
    rules = [*zip(replaced, replacements, strict=True)]
    spec = spm.SentencePieceNormalizer(norm_map=rules).serialized_normalizer_spec()
    charsmaps = [value for field, value in read_fields(spec) if field == CHARSMAP]
    assert isinstance(charsmaps[-1], bytes)
    return charsmaps[-1]
