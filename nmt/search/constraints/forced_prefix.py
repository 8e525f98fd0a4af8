"""Tokens that may begin a translation with a given text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from nmt.search.constraints.phrases import SPACE
from nmt.search.constraints.term_spelling import TokenTexts

# The last word of a prefix may be segmented freely if it has at most this many tokens.
MAX_FREE_TOKENS = 6


class ForcedPrefix(NamedTuple):
    """The beginning of a translation: given tokens, and the text that follows them.

    The last word of a prefix may be part of a longer one: after "the ma" the token of " man" is
    possible, although "ma" is segmented otherwise.

    Attributes:
        tokens: the first tokens
        allowed_xv: tokens that may follow, by the number of characters that are spelled already
    """

    tokens: list[int]
    allowed_xv: Bool[np.ndarray, "x v"]


def force_prefix(
    tokens: Sequence[int], texts: TokenTexts, *, ends_word: bool, eos: int
) -> ForcedPrefix:
    """Return the tokens that may begin a translation.

    Args:
        tokens: segmentation of the prefix
        texts: texts of the tokens
        ends_word: whether a space follows the prefix
        eos: end-of-sentence token, which may follow a complete prefix
    """
    forced = list(tokens)
    first = _first_free(tokens, texts)
    last_word = "".join(map(str, (texts.texts[token] for token in tokens[first:]))).rstrip(SPACE)
    if any(isinstance(texts.texts[token], bytes) for token in tokens[first:]):
        last_word = ""
    else:
        forced = forced[:first]
    # Any token that begins with a space, or the end, may follow a complete word.
    text = last_word + SPACE * ends_word
    allowed_xv = np.zeros((len(text), len(texts.texts)), np.bool_)
    for position in reversed(range(len(text))):
        rest = text[position:]
        for length in range(1, len(rest)):
            token = texts.token_of.get(rest[:length])
            # No token may lead to a position from which no token goes on.
            if token is not None and allowed_xv[position + length].any():
                allowed_xv[position, token] = True
        allowed_xv[position, texts.beginning_with(rest)] = True
        allowed_xv[position, eos] = rest == SPACE
    return ForcedPrefix(forced, allowed_xv)


def _first_free(tokens: Sequence[int], texts: TokenTexts) -> int:
    """Return the index of the first token of the last word."""
    begins = [i for i, token in enumerate(tokens) if texts.begins_with_space(token)]
    first = begins[-1] if begins else 0
    return first if len(tokens) - first <= MAX_FREE_TOKENS else len(tokens) - 1
