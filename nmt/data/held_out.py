"""Holding out pairs of a training text for validation."""

from array import array
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nmt.data.corpus import Corpus, Selection
from nmt.data.examination.measurements import hash_text
from nmt.data.examination.split import VALID, divide
from nmt.data.text import is_blank
from nmt.errors import UserError


def hold_out(corpus: Corpus, share: float) -> tuple[Corpus, Corpus]:
    """Divide a text into one for training and one for validation.

    Pairs that share a side, up to case and spaces, are in the same text, so that no sentence is
    in both. The division is a function of the sentences and the share.

    Args:
        corpus: the text, which is read once
        share: share of its pairs for validation, which groups of pairs exceed slightly

    Raises:
        UserError: if the pairs cannot be divided
    """
    hashes, usable, bounds = array("Q"), array("b"), [0]
    for part in corpus.untagged().parts:
        for sources, targets in part.blocks():
            for source, target in zip(sources, targets, strict=True):
                hashes.extend((_hash_side(source), _hash_side(target)))
                usable.append(not is_blank(source) and not is_blank(target))
        bounds.append(len(usable))
    division = divide(
        np.frombuffer(hashes, np.uint64).reshape(-1, 2),
        np.frombuffer(usable, np.int8).astype(np.bool_),
        (max(1, round(share * sum(usable))), 0),
    )
    held_out = division.parts == VALID
    if not held_out.any() or held_out.all():
        raise UserError(
            f"{sum(usable):,} pairs in {division.groups:,} groups that share sentences are too few "
            "to hold some out; give a text for validation"
        )
    key = ("held out", share, corpus.parts[0].limit)
    return (
        _select(corpus, bounds, ~held_out, (*key, "training")),
        _select(corpus, bounds, held_out, (*key, "validation")),
    )


def _select(
    corpus: Corpus, bounds: Sequence[int], kept: np.ndarray, key: tuple[object, ...]
) -> Corpus:
    parts = zip(corpus.parts, bounds, bounds[1:], strict=False)
    return Corpus(
        tuple(
            replace(part, selection=Selection(key, kept[start:end])) for part, start, end in parts
        )
    )


def _hash_side(line: str) -> int:
    return hash_text(" ".join(line.split()).casefold())
