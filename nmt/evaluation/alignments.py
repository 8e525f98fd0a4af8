"""Gold alignments, and how well predicted ones agree with them.

A Pharaoh file has a line a sentence with 0-based links `source-target` between spaces: `0-0 2-1`.
In gold alignments a sure link has `-`, a possible one `p` or `?`: `3p4`, `3?4`.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from nmt.data.corpus import read_lines
from nmt.errors import UserError
from nmt.search.alignments import Link

LINK = re.compile(r"([0-9]+)([-p?])([0-9]+)")


class GoldLinks(NamedTuple):
    """The links of one sentence in a Pharaoh file; the possible ones hold the sure ones too."""

    sure: frozenset[Link]
    possible: frozenset[Link]


class AlignmentScore(NamedTuple):
    """Precision, recall and alignment error rate, each from 0 to 1."""

    precision: float
    recall: float
    error_rate: float


def parse_pharaoh(line: str, place: str = "") -> GoldLinks:
    """The links of a line of a Pharaoh file.

    Args:
        place: where the line stands, as `FILE:LINE`, for the error

    Raises:
        UserError: something in the line is no link
    """
    sure, possible = set(), set()
    for word in line.split():
        match = LINK.fullmatch(word)
        if match is None:
            raise UserError(
                f"{word!r} is no link; 'SOURCE-TARGET' is one, possible ones are '3p4' or '3?4'",
                place,
            )
        link = int(match[1]), int(match[3])
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldLinks(frozenset(sure), frozenset(possible))


def read_pharaoh(path: str | PathLike[str]) -> list[GoldLinks]:
    """The links of every line of a file; raises UserError with `FILE:LINE` as `parse_pharaoh`."""
    lines = enumerate(read_lines(Path(path)), start=1)
    return [parse_pharaoh(line, f"{path}:{number}") for number, line in lines]


def alignment_error_rate(
    predicted: Sequence[AbstractSet[Link]],
    sure: Sequence[AbstractSet[Link]],
    possible: Sequence[AbstractSet[Link]],
) -> AlignmentScore:
    """Alignment error rate over a corpus (Och and Ney 2003, section 6.1), one set a sentence.

    For A predicted, S sure and P possible links, where P includes S, counted over all sentences:

        precision = |A ∩ P| / |A|     recall = |A ∩ S| / |S|
        error rate = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

    The precision of no links at all is 0.

    Raises:
        UserError: the corpora differ in length, or there is no sure link
    """
    if not len(predicted) == len(sure) == len(possible):
        raise UserError(
            f"{len(predicted)} lines of alignments but {max(len(sure), len(possible))} "
            "of gold ones; there must be one line for each"
        )
    links = in_sure = in_possible = sure_links = 0
    for found, certain, allowed in zip(predicted, sure, possible, strict=True):
        links += len(found)
        sure_links += len(certain)
        in_sure += len(found & certain)
        in_possible += len(found & (allowed | certain))
    if not sure_links:
        raise UserError("the gold alignments have no sure link; mark those with '-', as in 3-4")
    return AlignmentScore(
        precision=in_possible / links if links else 0.0,
        recall=in_sure / sure_links,
        error_rate=1 - (in_sure + in_possible) / (links + sure_links),
    )
