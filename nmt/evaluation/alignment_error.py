"""Alignment error rate of predicted word alignments, and reading of gold alignments.

A Pharaoh file has one line per sentence, with 0-based links `source-target` separated by spaces:
`0-0 2-1`. In gold alignments a sure link is written with `-`, a possible one with `p` or `?`:
`3p4`, `3?4`.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from nmt.data.text import read_lines
from nmt.errors import UserError
from nmt.search.alignment import Link

# No sentence has a billion words; longer numbers would also exceed Python's limit of 4,300 digits.
LINK = re.compile(r"([0-9]{1,9})([-p?])([0-9]{1,9})")


class GoldLinks(NamedTuple):
    """Gold links of one sentence; the possible links include the sure ones."""

    sure: frozenset[Link]
    possible: frozenset[Link]


class AlignmentScore(NamedTuple):
    """Precision, recall and alignment error rate, each from 0 to 1."""

    precision: float
    recall: float
    error_rate: float


def parse_pharaoh(line: str, location: str = "") -> GoldLinks:
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
    return GoldLinks(frozenset(sure), frozenset(possible))


def read_pharaoh(path: str | PathLike[str]) -> list[GoldLinks]:
    """Read a Pharaoh file.

    Raises:
        UserError: if the file cannot be read, or something in it is not a link
    """
    # The file is read, and so closed, before a malformed link raises.
    lines = list(read_lines(Path(path)))
    return [parse_pharaoh(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def alignment_error_rate(
    predicted: Sequence[AbstractSet[Link]],
    sure: Sequence[AbstractSet[Link]],
    possible: Sequence[AbstractSet[Link]],
) -> AlignmentScore:
    """Compute the alignment error rate over a corpus (Och and Ney 2003, section 6.1).

    For A predicted, S sure and P possible links, where P includes S, counted over all sentences:

        precision = |A ∩ P| / |A|     recall = |A ∩ S| / |S|
        error rate = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

    The precision of an empty prediction is 0.

    Args:
        predicted, sure, possible: one set of links per sentence

    Raises:
        UserError: if the numbers of sentences differ, or there is no sure link
    """
    if not len(predicted) == len(sure) == len(possible):
        raise UserError(
            f"{len(predicted)} lines of alignments but {max(len(sure), len(possible))} "
            "of gold alignments; give as many lines in both files"
        )
    # Counts of the whole corpus: a mean over sentences would weigh short ones more.
    num_predicted = num_sure = num_in_sure = num_in_possible = 0
    for predicted_links, sure_links, possible_links in zip(predicted, sure, possible, strict=True):
        num_predicted += len(predicted_links)
        num_sure += len(sure_links)
        num_in_sure += len(predicted_links & sure_links)
        # Gold files may list a sure link without repeating it as a possible one.
        num_in_possible += len(predicted_links & (possible_links | sure_links))
    if not num_sure:
        raise UserError("the gold alignments have no sure link; write sure links with '-': 3-4")
    return AlignmentScore(
        precision=num_in_possible / num_predicted if num_predicted else 0.0,
        recall=num_in_sure / num_sure,
        error_rate=1 - (num_in_sure + num_in_possible) / (num_predicted + num_sure),
    )
