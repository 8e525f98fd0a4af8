"""Lines of source text to translate."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nmt.search.constraints.request import NO_CONSTRAINTS, Constraints


class SourceLine(NamedTuple):
    """A line of source text to translate.

    Attributes:
        number: number of the line in its file, from 0; seeds the line's random numbers in sampling
            and locates it in error messages
        text: a sentence, or the file name of an image
        target: a given translation to score instead of searching for one
        constraints: constraints on the translation to search for
    """

    number: int
    text: str
    target: str | None = None
    constraints: Constraints = NO_CONSTRAINTS

    def location(self, file: str) -> str:
        """Return `FILE:LINE` for error messages; empty without the name of a file."""
        return f"{file}:{self.number + 1}" if file else ""


def number_lines(texts: Iterable[str]) -> Iterator[SourceLine]:
    """Return the lines of a text with their numbers, from 0."""
    return (SourceLine(number, text) for number, text in enumerate(texts))
