"""From text to ids: which pairs are kept, and writing them chunk by chunk."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from io import BufferedIOBase
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from nmt.data.album import Album
from nmt.data.corpus import Corpus
from nmt.data.encoded import Array, EncodingWriter, Report, id_counts
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError

Pair = tuple[str, str]

# Part of every key: raise it when the arrays come to mean something else.
FORMAT = 1
CHUNK = 10_000


class Recipe(NamedTuple):
    """All that decides the ids, but for the text."""

    source_vocabulary: Vocabulary | Album
    target_vocabulary: Vocabulary
    max_length: int

    def key(self, *text: object) -> str:
        """sha256 of this and of what stands for the text."""
        fingerprints = (
            self.source_vocabulary.fingerprint,
            self.target_vocabulary.fingerprint,
        )
        words = [FORMAT, *fingerprints, self.max_length, *text]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def encode(corpus: Corpus, recipe: Recipe, streams: Mapping[str, BufferedIOBase]) -> dict[str, Any]:
    """Write a corpus's ids to the streams; returns the rest of an EncodedCorpus, fit for JSON.

    Raises:
        UserError: the corpus cannot be read, or no pair is left
    """
    writer = EncodingWriter(streams, (len(recipe.source_vocabulary), len(recipe.target_vocabulary)))
    report = Report()
    text = hashlib.sha256()
    for pairs in chunks(corpus, text):
        sources = recipe.source_vocabulary.encode_all([source for source, _ in pairs])
        targets = recipe.target_vocabulary.encode_all([target for _, target in pairs])
        empty, too_long = _unfit(pairs, sources, targets, recipe)
        kept = np.flatnonzero(~(empty | too_long))
        writer.add([sources[i] for i in kept], [targets[i] for i in kept], kept + report.read)
        report.add(
            empty=np.flatnonzero(empty) + report.read + 1,
            too_long=np.flatnonzero(too_long) + report.read + 1,
            read=len(pairs),
            kept=len(kept),
        )
    writer.finish()
    if not report.kept:
        message = f"no pair is left: {report}; look at the file, or raise max_length"
        raise UserError(message, str(corpus.files[0]))
    return {
        "report": asdict(report),
        "text_fingerprint": text.hexdigest(),
        "fingerprint": recipe.key(text.hexdigest()),
    }


def chunks(corpus: Corpus, text: "hashlib._Hash") -> Iterator[list[Pair]]:
    """The pairs in chunks; their text goes into the hash on the way."""
    every = corpus.pairs()
    while pairs := list(islice(every, CHUNK)):
        text.update("".join(f"{line}\n" for line in chain.from_iterable(pairs)).encode())
        yield pairs


def _unfit(
    pairs: list[Pair],
    sources: list[list[int]],
    targets: list[list[int]],
    recipe: Recipe,
) -> tuple[Array, Array]:
    """Which pairs have an empty side, and which of the others have too many pieces."""
    lengths = np.array([id_counts(sources), id_counts(targets)])
    blank = [not (source.strip() and target.strip()) for source, target in pairs]
    empty = np.array(blank) | (lengths.min(axis=0) == 0)
    return empty, ~empty & (lengths.max(axis=0) > recipe.max_length)
