"""Learning a SentencePiece model from text, or from lines drawn from a long one."""

import re
import sys
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import islice
from math import log, log1p
from random import Random
from typing import Literal

import sentencepiece as spm

from nmt.errors import UserError

VocabularyType = Literal["unigram", "bpe", "char"]

# The longest line to learn from, in bytes; SentencePiece passes over lines beyond 4192 by default.
LONGEST_LINE = 1 << 30
# SentencePiece passes over a whole line that holds this character, which it keeps for itself.
RESERVED = "\u2585"
# Padding, begin, end and unknown.
SPECIALS = 4


def learn_model(
    lines: Iterable[str],
    *,
    size: int,
    type: VocabularyType,
    byte_fallback: bool,
    normalization: str,
    character_coverage: float,
) -> bytes:
    """The serialized model; see `Vocabulary.train`."""
    if size <= SPECIALS:
        raise UserError(f"a vocabulary of {size} pieces holds no text; use more than {SPECIALS}")
    text = _Text(lines)
    model = BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(text),
            model_writer=model,
            vocab_size=size,
            model_type=type,
            byte_fallback=byte_fallback,
            normalization_rule_name=normalization,
            character_coverage=character_coverage,
            max_sentence_length=LONGEST_LINE,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=1,
            minloglevel=3,
        )
    except (RuntimeError, ValueError) as error:
        if text.failure:
            raise text.failure from None
        raise UserError(_remedy(str(error), size)) from error
    return model.getvalue()


def draw_lines(lines: Iterable[str], count: int) -> tuple[list[str], int]:
    """At most `count` of the lines, each with the same chance, and how many lines there were.

    The draw is the same each time. A text that is no longer comes whole and in order; of a longer
    one, no more is in memory than what is drawn. Algorithm L, Li 1994, ACM TOMS 20(4).
    """
    rest = iter(lines)
    drawn = list(islice(rest, count))
    total = len(drawn)
    chance, weight = Random(1), 1.0
    while True:
        weight *= (1 - chance.random()) ** (1 / count)
        # With the weight at 1, as a small count may round it, the next line is drawn.
        skipped = int(log(1 - chance.random()) / log1p(-weight)) if weight < 1 else 0
        passed = sum(1 for _ in islice(rest, min(skipped, sys.maxsize)))
        line = next(rest, None)
        total += passed + (line is not None)
        if line is None:
            return drawn, total
        drawn[chance.randrange(count)] = line


class _Text:
    """Lines on their way to SentencePiece, which would turn their errors into its own."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = lines
        self.failure: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for line in self.lines:
                yield line.replace(RESERVED, " ")
        except BaseException as error:
            self.failure = error
            raise


def _remedy(reason: str, size: int) -> str:
    """What SentencePiece's complaint means for the user."""
    if most := re.search(r"too high .* <= (\d+)", reason):
        return f"a vocabulary of {size} pieces is too large for this text; use {most[1]} or fewer"
    if least := re.search(r"required_chars\. \d+ vs (\d+)", reason):
        return (
            f"a vocabulary of {size} pieces cannot hold the text's characters; "
            f"use {least[1]} or more, or a lower character_coverage"
        )
    if "sentences_.empty()" in reason:
        return "there is no text to learn a vocabulary from; give a file that is not empty"
    return f"SentencePiece cannot learn a vocabulary: {' '.join(reason.split())}"
