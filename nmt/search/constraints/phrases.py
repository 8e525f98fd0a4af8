"""Occurrences of phrases in a text that grows from left to right: an automaton over characters.

An occurrence is a sequence of whole words: "man" does not occur in "manager" nor in "woman". In
scripts without spaces between words any position is a boundary, and after Hangul as well, because
particles follow nouns without a space. Capital letters differ from small ones.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

Symbol = str | int
"""A character, or a byte above 127 of a token that is a single byte."""

SPACE = " "
# Names of these characters begin with their script, which writes words without spaces.
UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
MAX_ASCII = 127


class Match(NamedTuple):
    """A phrase of which the text ends with the first `matched` characters.

    A phrase that is matched as a whole occurs if the next character begins no letter or digit.

    Attributes:
        phrase: index of the phrase
        matched: number of matched characters
        partial: bytes of the next character that are matched, from byte tokens
    """

    phrase: int
    matched: int
    partial: bytes = b""


class MatchState(NamedTuple):
    """Everything about a text that decides whether phrases occur in its continuation.

    Attributes:
        matches: phrases of which the text ends with a part
        at_boundary: whether a word may begin at the next character
        after_space: whether the text ends with a space
    """

    matches: frozenset[Match] = frozenset()
    at_boundary: bool = True
    after_space: bool = False


class PhraseMatcher:
    """An automaton that finds all occurrences of phrases, overlapping ones included.

    Args:
        phrases: distinct strings, none of them empty
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        assert all(phrases)
        self.phrases = tuple(phrases)
        self._starting_with: dict[Symbol, list[Match]] = {}
        for index, phrase in enumerate(self.phrases):
            for first in (phrase[0], *phrase[0].encode()[:1]):
                self._starting_with.setdefault(first, []).append(Match(index, 0))

    @property
    def alphabet(self) -> set[Symbol]:
        """Return the symbols that the phrases distinguish, besides those of `is_word`."""
        characters = set[Symbol]("".join(self.phrases))
        return characters.union(byte for one in self.phrases for byte in non_ascii(one))

    def step(self, state: MatchState, symbol: Symbol) -> tuple[MatchState, tuple[int, ...]]:
        """Append a symbol to the text.

        Returns:
            the next state, and the phrases that now occur once more
        """
        if symbol == SPACE and state.after_space:
            return state, ()  # several spaces separate words as one does
        continues_word = is_word(symbol)
        matches, completed = set[Match](), list[int]()
        for match in [*state.matches, *self._starting_with.get(symbol, ())]:
            phrase = self.phrases[match.phrase]
            if match.matched == len(phrase):
                if not continues_word:
                    completed.append(match.phrase)
                continue
            if not match.matched and not match.partial and not self._may_begin(phrase, state):
                continue
            longer = advance(phrase, match, symbol)
            if longer is None:
                continue
            if longer.matched == len(phrase) and not ends_at_boundary(phrase[-1]):
                completed.append(match.phrase)
            else:
                matches.add(longer)
        following = MatchState(frozenset(matches), not continues_word, symbol == SPACE)
        return following, tuple(sorted(completed))

    def at_end(self, state: MatchState) -> tuple[int, ...]:
        """Return the phrases that occur once more if the text ends here."""
        whole = (m.phrase for m in state.matches if m.matched == len(self.phrases[m.phrase]))
        return tuple(sorted(whole))

    def count(self, text: str) -> list[int]:
        """Return the number of occurrences of each phrase in a text."""
        counts, state = [0] * len(self.phrases), MatchState()
        for character in text:
            state, completed = self.step(state, character)
            for phrase in completed:
                counts[phrase] += 1
        for phrase in self.at_end(state):
            counts[phrase] += 1
        return counts

    @staticmethod
    def _may_begin(phrase: str, state: MatchState) -> bool:
        return state.at_boundary or not begins_at_boundary(phrase[0])


def advance(phrase: str, match: Match, symbol: Symbol) -> Match | None:
    """Return the match after a further symbol, or None if the symbol is not that of the phrase."""
    following = phrase[match.matched]
    if isinstance(symbol, str):
        is_next = symbol == following and not match.partial
        return match._replace(matched=match.matched + 1) if is_next else None
    partial, encoded = match.partial + bytes([symbol]), following.encode()
    if partial == encoded:
        return match._replace(matched=match.matched + 1, partial=b"")
    return match._replace(partial=partial) if encoded.startswith(partial) else None


def symbols_of(token: str | bytes) -> list[Symbol]:
    """Return the symbols of a token's text, or of the byte that it is."""
    if isinstance(token, str):
        return list(token)
    return [byte if byte > MAX_ASCII else chr(byte) for byte in token]


def non_ascii(text: str) -> list[int]:
    """Return the bytes above 127 of a text."""
    return [byte for byte in text.encode() if byte > MAX_ASCII]


@cache
def is_word(symbol: Symbol) -> bool:
    """Return whether a symbol is part of a word: a letter, mark, digit or underscore.

    A byte above 127 nearly always belongs to a letter.
    """
    if isinstance(symbol, int):
        return True
    return symbol == "_" or unicodedata.category(symbol)[0] in "LMN"


def begins_at_boundary(character: str) -> bool:
    """Return whether a phrase that begins with this character occurs at the start of words only."""
    return is_word(character) and not _is_unspaced(character)


def ends_at_boundary(character: str) -> bool:
    """Return whether a phrase that ends with this character occurs at the end of words only."""
    return begins_at_boundary(character) and not _script(character).startswith("HANGUL")


def _is_unspaced(character: str) -> bool:
    return _script(character).startswith(UNSPACED_SCRIPTS)


def _script(character: str) -> str:
    return unicodedata.name(character, "")
