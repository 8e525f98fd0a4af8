"""Word alignments in Pharaoh format.

A file has one line per sentence, with 0-based links `source-target` separated by spaces: `0-0 2-1`.
In gold alignments a sure link is written with `-`, a possible one with `p` or `?`: `3p4`, `3?4`.
"""

import re
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from nmt.data.text import read_lines
from nmt.errors import UserError

Link = tuple[int, int]
"""(source, target), 0-based."""

# No sentence has a billion words; longer numbers would also exceed Python's limit of 4,300 digits.
LINK = re.compile(r"([0-9]{1,9})([-p?])([0-9]{1,9})")


class SentenceLinks(NamedTuple):
    """Links of one sentence; the possible links include the sure ones."""

    sure: frozenset[Link]
    possible: frozenset[Link]

    def shifted(self, words: int) -> "SentenceLinks":
        """Return the links for a source with this number of words before its own, such as tags."""
        return SentenceLinks(*(frozenset((i + words, j) for i, j in links) for links in self))


def parse_pharaoh(line: str, location: str = "") -> SentenceLinks:
    """Parse a line of a Pharaoh file.

    Args:
        line: links separated by spaces
        location: `FILE:LINE` for the error message

    Raises:
        UserError: if something in the line is not a link
    """
    sure, possible = set(), set()
    for word in line.split():
        match = LINK.fullmatch(word)
        if match is None:
            raise UserError(
                f"{word!r} is not a link; write SOURCE-TARGET, or '3p4' or '3?4' for a possible "
                "link",
                location,
            )
        link = int(match[1]), int(match[3])
        # Och and Ney's S is a subset of P.
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return SentenceLinks(frozenset(sure), frozenset(possible))


def check_links(links: SentenceLinks, source: int, target: int, location: str) -> None:
    """Raise UserError if a link is to a word that does not exist.

    Args:
        links: links of a sentence
        source, target: numbers of words
        location: `FILE:LINE` for the error message
    """
    for i, j in sorted(links.possible):
        if i >= source or j >= target:
            raise UserError(
                f"link {i}-{j}, but the source has {source} and the target {target} words, "
                "numbered from 0; write SOURCE-TARGET",
                location,
            )


def read_pharaoh(path: str | PathLike[str]) -> list[SentenceLinks]:
    """Read a Pharaoh file.

    Raises:
        UserError: if the file cannot be read, or something in it is not a link
    """
    # The file is read, and so closed, before a malformed link raises.
    lines = list(read_lines(Path(path)))
    return [parse_pharaoh(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]
