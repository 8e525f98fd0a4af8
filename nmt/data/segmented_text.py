"""Words of a text, and the pieces of a vocabulary that cover them."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property

from nmt.data.vocabulary import Span


class SegmentedText:
    """A text with the characters that each of its pieces covers.

    Args:
        text: the text, not normalized
        spans: first character of each piece and the one after its last, `</s>` excluded

    Attributes:
        words: the words of the text, split at white space
        pieces: number of pieces
    """

    def __init__(self, text: str, spans: Sequence[Span]) -> None:
        self.text, self.spans = text, spans
        self.words, self.pieces = text.split(), len(spans)

    @cached_property
    def words_of_pieces(self) -> list[list[int]]:
        """The words that each piece covers at least partly.

        A piece of white space, or of no character, belongs to the word at its position, otherwise
        to the next word, and after the last word to the last one. A piece of a tag, which precedes
        the text, belongs to no word.
        """
        bounds = [match.span() for match in re.finditer(r"\S+", self.text)]  # those of str.split
        starts, ends = [start for start, _ in bounds], [end for _, end in bounds]
        if not bounds:
            return [[] for _ in self.spans]
        found: list[list[int]] = []
        for start, end in self.spans:
            if end < 0:
                found.append([])
                continue
            first, last = bisect_right(ends, start), bisect_left(starts, end)
            found.append(list(range(first, last)) or [min(first, len(bounds) - 1)])
        return found

    @cached_property
    def pieces_of_words(self) -> list[list[int]]:
        """The positions of the pieces of each word; none if normalization removes the word."""
        pieces: list[list[int]] = [[] for _ in self.words]
        for piece, words in enumerate(self.words_of_pieces):
            for word in words:
                pieces[word].append(piece)
        return pieces
