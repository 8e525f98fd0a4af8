"""What encodings are made from, and what they are compared by."""

from collections.abc import Callable

from nmt.data.corpus import Corpus
from nmt.data.token_corpus import TokenCorpus

Pairs = list[tuple[str, str]]
Write = Callable[[Pairs], Corpus]
"""Writes pairs to files."""


def ids_of(encoded: TokenCorpus) -> list[tuple[list[int], list[int]]]:
    """Source and target ids of each pair."""
    return [(encoded.source(i).tolist(), encoded.target(i).tolist()) for i in range(len(encoded))]
