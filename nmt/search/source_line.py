"""Lines of source text to translate."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nmt.search.constraints.request import NO_CONSTRAINTS, Constraints, take_tagged
from nmt.search.intervention import Intervention


class SourceLine(NamedTuple):
    """A line of source text to translate.

    Attributes:
        number: number of the line in its file, from 0; seeds the line's random numbers in sampling
            and locates it in error messages
        text: a sentence, or the file name of an image
        target: a given translation to score instead of searching for one
        constraints: constraints on the translation to search for
        intervention: first pieces and attention weights that are not left to the model
    """

    number: int
    text: str
    target: str | None = None
    constraints: Constraints = NO_CONSTRAINTS
    intervention: Intervention | None = None

    def location(self, file: str) -> str:
        """Return `FILE:LINE` for error messages; empty without the name of a file."""
        return f"{file}:{self.number + 1}" if file else ""

    def with_constraints(
        self, prefix: str = "", terms: tuple[str, ...] = (), forbid: tuple[str, ...] = ()
    ) -> "SourceLine":
        """Return the line with further constraints."""
        own = self.constraints
        constraints = Constraints(own.prefix or prefix, own.terms + terms, own.forbid + forbid)
        return self._replace(constraints=constraints)

    def with_tagged_terms(self, tag: str, file: str = "") -> "SourceLine":
        """Return the line without tags of this name, and with the text between them as terms.

        Raises:
            UserError: if the name is not that of a tag, or a tag has no partner
        """
        text, terms = take_tagged(self.text, tag, self.location(file))
        return self._replace(text=text).with_constraints(terms=terms)


def number_lines(texts: Iterable[str]) -> Iterator[SourceLine]:
    """Return the lines of a text with their numbers, from 0."""
    return (SourceLine(number, text) for number, text in enumerate(texts))
