"""Alignment error rate of predicted word alignments."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from nmt.data.pharaoh import Link
from nmt.errors import UserError


class AlignmentScore(NamedTuple):
    """Precision, recall and alignment error rate, each from 0 to 1."""

    precision: float
    recall: float
    error_rate: float


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
        UserError: if the numbers of sentences differ, or no link is sure
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
