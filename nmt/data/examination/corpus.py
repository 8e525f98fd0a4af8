"""Examination of the corpora of an experiment, for `nmt-train --check`."""

from collections.abc import Iterator

from nmt.data.corpus import Corpus
from nmt.data.examination.report import examine, warnings
from nmt.data.readers.pair_text import NumberedPairs, Pair


class CorpusText(NumberedPairs):
    """The pairs of a corpus, numbered from 1."""

    def __init__(self, corpus: Corpus) -> None:
        # A tag would look like markup.
        self._corpus = corpus.untagged()
        self.name = str(corpus.files[0])

    def pairs(self) -> Iterator[Pair]:
        for number, (source, target) in enumerate(self._corpus.pairs(), start=1):
            yield Pair(number, source, target)

    def location(self, index: int, number: int) -> str:
        return self._corpus.location(index)


def corpus_warnings(train: Corpus, valid: Corpus) -> list[str]:
    """Return warnings about the pairs of the texts of an experiment; none about images.

    Raises:
        UserError: if a corpus cannot be read
    """
    if train.images:
        return []
    languages = (train.languages[0], train.languages[1])
    parts = {"train": CorpusText(train), "valid": CorpusText(valid)}
    found = examine(parts, languages, identify_languages=False)
    return [warning for one in found.values() for warning in warnings(one)]
