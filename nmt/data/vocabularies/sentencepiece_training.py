"""Training of SentencePiece models, and their normalization rules."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from typing import Literal

import sentencepiece as spm

from nmt.data.vocabularies.jamo import JAMO, add_jamo, make_jamo_normalizer
from nmt.errors import UserError, is_out_of_memory

VocabularyType = Literal["unigram", "bpe", "char"]

# SentencePiece ignores lines that are longer than this many bytes; its own default is 4192.
MAX_LINE_BYTES = 1 << 30
# SentencePiece uses this character internally, and ignores lines that contain it.
RESERVED_CHARACTER = "\u2585"
# A character that no normalization rule changes, for private use.
KEPT_CHARACTER = "\U0010fffd"
# Name of the normalization rule that changes no character.
IDENTITY = "identity"
# <pad>, <s>, </s> and <unk>.
NUM_SPECIAL_TOKENS = 4
# Tokens that byte_fallback adds.
NUM_BYTES = 256


class SizeError(UserError):
    """A size of a vocabulary that does not suit its text."""


def train_sentencepiece(
    lines: Iterable[str],
    *,
    size: int,
    type: VocabularyType,
    byte_fallback: bool,
    normalization: str,
    character_coverage: float,
    user_defined_symbols: Sequence[str] = (),
    split_digits: bool = False,
    is_exact: bool = True,
) -> bytes:
    """Train a SentencePiece model and return it serialized.

    The arguments are those of `SentencePieceVocabulary.train`; unless the size `is_exact`, a text
    that does not suffice for it gives fewer tokens.
    """
    check_size(size)
    if has_jamo := normalization == JAMO:
        lines = map(make_normalizer(JAMO, user_defined_symbols), lines)
    text = _TrainingText(lines)
    model = BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(text),
            model_writer=model,
            vocab_size=size,
            model_type=type,
            byte_fallback=byte_fallback,
            normalization_rule_name=IDENTITY if has_jamo else normalization,
            character_coverage=character_coverage,
            user_defined_symbols=list(user_defined_symbols),
            split_digits=split_digits,
            hard_vocab_limit=is_exact,
            max_sentence_length=MAX_LINE_BYTES,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=1,
            minloglevel=3,
        )
    except (RuntimeError, ValueError, MemoryError) as error:
        # An error of the text itself, such as invalid UTF-8, is reported as it is.
        if text.error:
            raise text.error from None
        if is_out_of_memory(error):
            raise UserError("out of memory; lower data.vocabulary.lines") from error
        required = len(text.characters) + len(user_defined_symbols) + NUM_BYTES * byte_fallback
        advice = advisable_size(text.num_lines, required + NUM_SPECIAL_TOKENS)
        raise _explain_training_error(str(error), size, advice) from error
    return add_jamo(model.getvalue()) if has_jamo else model.getvalue()


def check_size(size: int) -> None:
    """Raise SizeError for a size that has no room for text."""
    if size <= NUM_SPECIAL_TOKENS:
        raise SizeError(
            f"vocabulary size {size} has no room for text; use more than {NUM_SPECIAL_TOKENS}"
        )


class _TrainingText:
    """Lines for SentencePiece, which replaces exceptions of its input by its own.

    Attributes:
        error: the exception that ended the iteration, if any
        num_lines: number of lines that were read
        characters: the characters in them
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = lines
        self.error: BaseException | None = None
        self.num_lines = 0
        self.characters: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        try:
            for line in self.lines:
                self.num_lines += 1
                self.characters.update(line)
                yield line.replace(RESERVED_CHARACTER, " ")
        # BaseException, because KeyboardInterrupt would be replaced as well.
        except BaseException as error:
            self.error = error
            raise


def make_normalizer(rule: str, symbols: Sequence[str] = ()) -> Callable[[str], str]:
    """Return the function by which a rule of SentencePiece normalizes a line.

    Args:
        rule: name of the rule
        symbols: strings that are never normalized
    """
    normalize = make_offset_normalizer(rule, symbols)
    return lambda line: normalize(line)[0]


def make_offset_normalizer(
    rule: str, symbols: Sequence[str] = ()
) -> Callable[[str], tuple[str, Sequence[int]]]:
    """Return a function that normalizes a line and gives the origin of each character.

    The second value has the index in the line of each character of the result, and one for its end.

    Args:
        rule, symbols: see `make_normalizer`
    """
    if rule == IDENTITY:
        return lambda line: (line, range(len(line) + 1))
    normalizer = (
        make_jamo_normalizer()
        if rule == JAMO
        else spm.SentencePieceNormalizer(
            rule_name=rule, add_dummy_prefix=False, escape_whitespaces=False
        )
    )
    normalize: Callable[[str], tuple[str, Sequence[int]]] = partial(
        normalizer.normalize, with_offsets=True
    )
    kept = sorted((one for one in symbols if normalize(one)[0] != one), key=len, reverse=True)
    if not kept:
        return normalize
    pattern = re.compile("|".join(map(re.escape, [*kept, KEPT_CHARACTER])))
    return partial(_normalize_around, pattern, normalize)


def _normalize_around(
    pattern: re.Pattern[str],
    normalize: Callable[[str], tuple[str, Sequence[int]]],
    line: str,
) -> tuple[str, Sequence[int]]:
    """Normalize a line without the matches of a pattern, which no rule changes meanwhile."""
    normalized, offsets = normalize(pattern.sub(KEPT_CHARACTER, line))
    matches = list(pattern.finditer(line))
    origins, end = list[int](), 0
    for match in matches:
        origins += range(end, match.start() + 1)
        end = match.end()
    origins += range(end, len(line) + 1)
    text, origin_of_text, remaining = "", list[int](), iter(matches)
    for character, offset in zip(normalized, offsets, strict=False):
        if character == KEPT_CHARACTER:
            match = next(remaining)
            text += match.group()
            origin_of_text += range(*match.span())
        else:
            text += character
            origin_of_text.append(origins[offset])
    return text, [*origin_of_text, origins[offsets[-1]]]


def advisable_size(num_lines: int, required: int) -> int:
    """Return a size for a small text: a tenth of its lines, but more than the required tokens."""
    size = max(num_lines // 10, 2 * required)
    scale: int = 10 ** (len(str(size)) - 1)
    return size // scale * scale


def _explain_training_error(reason: str, size: int, advisable: int) -> UserError:
    """Return the cause of a SentencePiece error and its remedy in terms of the options."""
    # The messages contain the nearest valid size.
    if maximum := re.search(r"too high .* <= (\d+)", reason):
        # Most tokens of the largest vocabulary occur once or twice.
        return SizeError(
            f"vocabulary size {size} is too large for this text; "
            f"use {min(advisable, int(maximum[1]))} (at most {maximum[1]})"
        )
    if minimum := re.search(r"required_chars\. \d+ vs (\d+)", reason):
        return SizeError(
            f"vocabulary size {size} is too small for the characters of the text; "
            f"use {minimum[1]} or more, or a lower character_coverage"
        )
    if "sentences_.empty()" in reason:
        return UserError("the text to train a vocabulary on is empty; give a file with text")
    return UserError(f"SentencePiece cannot train a vocabulary: {' '.join(reason.split())}")
