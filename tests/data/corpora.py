"""Types and comparison of tokenized corpora."""

from collections.abc import Callable

from nmt.data.corpus import Corpus
from nmt.data.token_corpus import TokenCorpus

Pairs = list[tuple[str, str]]
Write = Callable[[Pairs], Corpus]
"""A function that writes pairs to the files of a corpus."""


def ids_of(corpus: TokenCorpus) -> list[tuple[list[int], list[int]]]:
    """Return the source and target ids of each pair."""
    pairs = (corpus[index] for index in range(len(corpus)))
    return [(source.tolist(), target.tolist()) for source, target in pairs]
