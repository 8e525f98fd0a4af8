"""From text to ids: which pairs are kept, and writing them block by block."""

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from io import BufferedIOBase
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from nmt.data.album import Album
from nmt.data.corpus import Block, Corpus
from nmt.data.encoded import Array, EncodingWriter, Report, Sentences
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.parallel import map_in_order

# Part of every key: raise it when the arrays come to mean something else.
FORMAT = 1
# Text of no more blocks than this is encoded before another process would be ready for it.
FEW = 4


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


class EncodedBlock(NamedTuple):
    """What becomes of a block of pairs; numbers of pairs count from 0 in the block.

    Attributes:
        read: pairs in the block
        sources, targets: ids of the pairs that are kept
        kept, empty, too_long: which pairs are kept, and which are not and why
    """

    read: int
    sources: Sentences
    targets: Sentences
    kept: Array
    empty: Array
    too_long: Array


def encode(
    corpus: Corpus, recipe: Recipe, streams: Mapping[str, BufferedIOBase], *, processes: int = 1
) -> dict[str, Any]:
    """Write a corpus's ids to the streams; returns the rest of an EncodedCorpus, fit for JSON.

    Args:
        processes: that encode a text of more than a few blocks; what is written is the same

    Raises:
        UserError: the corpus cannot be read, or no pair is left
    """
    writer = EncodingWriter(streams, (len(recipe.source_vocabulary), len(recipe.target_vocabulary)))
    report = Report()
    text = hashlib.sha256()
    with closing(_encoded_blocks(_texts(corpus, text), recipe, processes)) as blocks:
        for block in blocks:
            writer.add(block.sources, block.targets, block.kept + report.read)
            report.add(
                empty=block.empty + report.read + 1,
                too_long=block.too_long + report.read + 1,
                read=block.read,
                kept=len(block.kept),
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


def _texts(corpus: Corpus, text: "hashlib._Hash") -> Iterator[bytes]:
    """The blocks, source and target in turn, a line each; they go into the hash on the way."""
    for sources, targets in corpus.blocks():
        lines = chain.from_iterable(zip(sources, targets, strict=True))
        block = ("\n".join(lines) + "\n").encode()
        text.update(block)
        yield block


def _encoded_blocks(
    texts: Iterator[bytes], recipe: Recipe, processes: int
) -> Generator[EncodedBlock, None, None]:
    encode_here = partial(encode_block, recipe)
    first = list(islice(texts, FEW + 1))
    every = chain(first, texts)
    if processes == 1 or len(first) <= FEW or isinstance(recipe.source_vocabulary, Album):
        yield from map(encode_here, every)
    else:
        yield from map_in_order(encode_here, every, processes)


def encode_block(recipe: Recipe, text: bytes) -> EncodedBlock:
    """Encode pairs; their lines stand in turn, source and target."""
    lines = text.decode().split("\n")
    block = lines[:-1:2], lines[1::2]
    sources = recipe.source_vocabulary.encode_all(block[0])
    targets = recipe.target_vocabulary.encode_all(block[1])
    empty, too_long = _unfit(block, sources, targets, recipe)
    kept = np.flatnonzero(~(empty | too_long))
    if len(kept) < len(sources):
        sources, targets = ([side[i] for i in kept.tolist()] for side in (sources, targets))
    return EncodedBlock(
        len(block[0]),
        Sentences.of(sources, len(recipe.source_vocabulary)),
        Sentences.of(targets, len(recipe.target_vocabulary)),
        kept,
        np.flatnonzero(empty),
        np.flatnonzero(too_long),
    )


def _unfit(
    block: Block, sources: list[list[int]], targets: list[list[int]], recipe: Recipe
) -> tuple[Array, Array]:
    """Which pairs have an empty side, and which of the others have too many pieces."""
    lengths = np.array([list(map(len, sources)), list(map(len, targets))])
    blank = [not (source.strip() and target.strip()) for source, target in zip(*block, strict=True)]
    empty = np.array(blank) | (lengths.min(axis=0) == 0)
    return empty, ~empty & (lengths.max(axis=0) > recipe.max_length)
