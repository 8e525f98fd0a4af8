"""Spelling of a required term by tokens, from the start or from any part of it."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from nmt.search.constraints.phrases import (
    SPACE,
    Match,
    advance,
    begins_at_boundary,
    symbols_of,
)

LAST = chr(0x10FFFF)  # no text contains this character


class TokenTexts:
    """The texts of all tokens of a vocabulary, and the longest token that a text begins with.

    Args:
        texts: text of each token; a bytes object for a byte token
    """

    def __init__(self, texts: Sequence[str | bytes]) -> None:
        self.texts = texts
        # Of tokens with equal texts, the first one.
        reverse = reversed(list(enumerate(texts)))
        self.token_of: Mapping[str, int] = {
            text: token for token, text in reverse if text and isinstance(text, str)
        }
        self._sorted = sorted(self.token_of)
        self._max_length = max(map(len, self.token_of), default=0)

    def begins_with_space(self, token: int) -> bool:
        """Return whether a token begins with a space."""
        text = self.texts[token]
        return isinstance(text, str) and text.startswith(SPACE)

    def longest(self, text: str) -> int | None:
        """Return the longest token whose text begins the given one."""
        lengths = range(min(self._max_length, len(text)), 0, -1)
        return next((self.token_of[text[:n]] for n in lengths if text[:n] in self.token_of), None)

    def beginning_with(self, text: str) -> list[int]:
        """Return the tokens whose text begins with the given one."""
        first, last = bisect_left(self._sorted, text), bisect_left(self._sorted, text + LAST)
        return [self.token_of[name] for name in self._sorted[first:last]]


class TermSpelling:
    """The tokens that spell a term, and those that complete a part of it.

    A part that the vocabulary's own segmentation contains is completed by its next token, another
    one by the longest token that fits.

    Args:
        term: the term, normalized
        tokens: its segmentation
        texts: texts of the tokens

    Attributes:
        is_complete: whether the tokens spell the whole term
        length: number of tokens that spell the term after any text
        starts: tokens that may begin it, after a text that ends with a space and after others
    """

    def __init__(self, term: str, tokens: Sequence[int], texts: TokenTexts) -> None:
        self._term, self._texts = term, texts
        self._next: dict[Match, int] = {}
        match, unspaced = Match(0, 0), None
        for token in tokens:
            symbols = symbols_of(texts.texts[token])
            if match == Match(0, 0) and SPACE in symbols[:1]:
                symbols = symbols[1:]
                unspaced = texts.token_of.get(str(texts.texts[token])[1:])
            elif match == Match(0, 0):
                unspaced = token
            if symbols:
                self._next[match] = token
            match = self._append(match, symbols) or match
        if unspaced is None:
            unspaced = texts.longest(term)
        self.is_complete = match.matched == len(term)
        spaced = self._after_space(tokens)
        after_word: list[int | None] = [spaced[0]]
        if not begins_at_boundary(term[0]):
            after_word.append(unspaced)
        self.starts = [unspaced], after_word
        self.length = len(spaced)

    def _after_space(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens that spell the term after a word, with a space before it if needed."""
        space = self._texts.token_of.get(SPACE)
        is_separate = self._texts.begins_with_space(tokens[0])
        if space is None or is_separate or not begins_at_boundary(self._term[0]):
            return list(tokens)
        return [space, *tokens]

    def _append(self, match: Match, symbols: Sequence[str | int]) -> Match | None:
        """Return the match after these symbols, which may end with spaces after the term."""
        for symbol in symbols:
            if match.matched == len(self._term):
                return match if symbol == SPACE else None
            longer = advance(self._term, match, symbol)
            if longer is None:
                return None
            match = longer
        return match

    def next_token(self, match: Match) -> int | None:
        """Return the token that continues a part of the term, or None if no token does."""
        own = match._replace(phrase=0)
        if own in self._next or own.partial:
            return self._next.get(own)
        return self._texts.longest(self._term[own.matched :])

    def progress(self, match: Match) -> int:
        """Return the number of tokens of the term that a matched part saves."""
        distance, current = 0, match
        while current.matched < len(self._term):
            token = self.next_token(current)
            if token is None:
                return 0
            following = self._append(current, symbols_of(self._texts.texts[token]))
            if following is None:
                return 0
            current, distance = following, distance + 1
        return max(0, self.length - distance)
