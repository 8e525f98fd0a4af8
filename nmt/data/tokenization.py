"""Tokenization of a corpus, once: filtering of pairs, worker processes and the cache.

A cached corpus is a directory of .npy files, named by the fingerprint of everything that decides
the token ids. An index file maps the identity of the text files (path, size, modification times) to
that directory, so that a later run reads no text. A text under another name shares the directory.
"""

import hashlib
import json
import logging
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from io import BufferedIOBase, BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nmt.data.corpus import Block, Corpus
from nmt.data.images import ImageStore
from nmt.data.preparation import UNPREPARED, Preparation
from nmt.data.text import is_blank
from nmt.data.token_corpus import (
    Array,
    FilterStats,
    RaggedIds,
    TokenArrays,
    TokenArrayWriter,
    TokenCorpus,
    read_npy_buffer,
)
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.parallel import map_in_order
from nmt.storage.atomic import (
    Fingerprint,
    JsonObject,
    fingerprint,
    is_intact,
    is_regular,
    read_metadata,
    replace_file,
    seal_dir,
    staging_dir,
)

log = logging.getLogger("nmt")

MAX_ENTRY_NAME = 100
# Part of every fingerprint: increase it when the meaning of the cached arrays changes.
CACHE_VERSION = 2
# A text of at most this many blocks is tokenized before a worker process would have started.
MAX_SERIAL_BLOCKS = 4


class TokenizationSpec(NamedTuple):
    """Everything that decides the token ids, except the text.

    Attributes:
        source_vocabulary: an image store if the source is images
        max_length: pairs with more tokens on a side are filtered out
        preparation: preparation of the text before the vocabularies
    """

    source_vocabulary: Vocabulary | ImageStore
    target_vocabulary: Vocabulary
    max_length: int
    preparation: Preparation = UNPREPARED

    @property
    def vocabulary_sizes(self) -> tuple[int, int]:
        """Return the sizes of the source and the target vocabulary."""
        return len(self.source_vocabulary), len(self.target_vocabulary)

    def fingerprint(self, *text: object) -> str:
        """Return the sha256 of these settings and of values that identify the text."""
        fingerprints = (self.source_vocabulary.fingerprint, self.target_vocabulary.fingerprint)
        prepared = [repr(self.preparation)] if self.preparation.changes_source else []
        key = [CACHE_VERSION, *fingerprints, self.max_length, *prepared, *text]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()


class CorpusInfo(NamedTuple):
    """Properties of a tokenized corpus, see `TokenCorpus`."""

    stats: FilterStats
    text_fingerprint: str
    fingerprint: str
    part_sizes: tuple[int, ...]

    def to_json(self) -> dict[str, object]:
        """Convert to values for JSON."""
        # Names of the fields in the metadata of a cache entry.
        return {
            "report": asdict(self.stats),
            "text_fingerprint": self.text_fingerprint,
            "fingerprint": self.fingerprint,
            "part_sizes": list(self.part_sizes),
        }

    @classmethod
    def from_json(cls, values: JsonObject) -> "CorpusInfo":
        """Convert from the values of `to_json`."""
        stats = FilterStats(**values["report"])
        # Entries of earlier versions have a single part.
        part_sizes = tuple(values.get("part_sizes", [stats.read]))
        return cls(stats, values["text_fingerprint"], values["fingerprint"], part_sizes)


class TokenizedBlock(NamedTuple):
    """Token ids of a block of pairs; indices of pairs count from 0 in the block.

    Attributes:
        read: number of pairs in the block
        sources, targets: token ids of the pairs that are kept
        kept, empty, too_long: indices of the pairs that are kept, and of those filtered out
    """

    read: int
    sources: RaggedIds
    targets: RaggedIds
    kept: Array
    empty: Array
    too_long: Array


def tokenize_corpus(
    corpus: Corpus,
    source_vocabulary: Vocabulary | ImageStore,
    target_vocabulary: Vocabulary,
    *,
    max_length: int,
    cache_dir: Path | None,
    processes: int = 1,
    preparation: Preparation = UNPREPARED,
) -> TokenCorpus:
    """Tokenize a corpus, or load it from the cache.

    Pairs with an empty side or with more than `max_length` tokens on a side are filtered out and
    counted. Text is read only if a text file or a vocabulary has changed. A corrupt cache entry is
    replaced.

    Args:
        corpus: the text
        source_vocabulary: the image store of the corpus if the source is images
        target_vocabulary: the vocabulary of the target
        max_length: maximum number of tokens on a side, without begin and end
        cache_dir: directory with one subdirectory per tokenized corpus; None keeps it in memory
        processes: number of worker processes; does not change the result
        preparation: preparation of the text before the vocabularies

    Raises:
        UserError: if the corpus cannot be read, or no pair is kept
    """
    spec = TokenizationSpec(source_vocabulary, target_vocabulary, max_length, preparation.of_files)
    images = source_vocabulary.images if isinstance(source_vocabulary, ImageStore) else None
    if cache_dir is None:
        streams = {name: BytesIO() for name in TokenArrays._fields}
        info = write_token_arrays(corpus, spec, streams, processes=processes)
        arrays = TokenArrays(*(read_npy_buffer(streams[name]) for name in TokenArrays._fields))
        return _make_corpus(arrays, info, images)
    files = map(_fingerprint_file, corpus.files)
    index = cache_dir / f"{spec.fingerprint(*files, *corpus.reading)}.index"
    entry = _find_entry(index)
    # The index is written last, so that it never points to an incomplete entry.
    if entry is None:
        entry = _write_entry(cache_dir, corpus, spec, processes)
        replace_file(index, entry.name)
    # Plain arrays that are still memory-mapped; slicing np.memmap costs several times as much.
    mapped = (np.load(entry / f"{name}.npy", mmap_mode="r") for name in TokenArrays._fields)
    arrays = TokenArrays(*map(np.asarray, mapped))
    return _make_corpus(arrays, CorpusInfo.from_json(read_metadata(entry)), images)


def _make_corpus(arrays: TokenArrays, info: CorpusInfo, images: Array | None) -> TokenCorpus:
    return TokenCorpus(
        arrays,
        info.stats,
        info.text_fingerprint,
        info.fingerprint,
        images=images,
        part_sizes=info.part_sizes,
    )


def write_token_arrays(
    corpus: Corpus,
    spec: TokenizationSpec,
    streams: Mapping[str, BufferedIOBase],
    *,
    processes: int = 1,
) -> CorpusInfo:
    """Tokenize a corpus and write the arrays to streams.

    Args:
        corpus: the text
        spec: vocabularies and maximum length
        streams: a stream for each field of `TokenArrays`, by name
        processes: number of worker processes for a text of more than a few blocks

    Raises:
        UserError: if the corpus cannot be read, or no pair is kept
    """
    writer = TokenArrayWriter(streams, spec.vocabulary_sizes)
    stats = FilterStats()
    text_hash = hashlib.sha256()
    part_sizes = [0] * len(corpus.parts)
    texts = _hash_blocks(corpus, text_hash, part_sizes)
    # Closing the generator ends the worker processes if this one is interrupted.
    with closing(_tokenize_blocks(texts, spec, processes)) as blocks:
        for block in blocks:
            writer.append(block.sources, block.targets, block.kept + stats.read)
            # Indices count from 0 in a block; the numbers of lines count from 1 in the corpus.
            stats.add(
                empty=block.empty + stats.read + 1,
                too_long=block.too_long + stats.read + 1,
                read=block.read,
                kept=len(block.kept),
            )
    writer.finish()
    if not stats.kept:
        message = f"no pair is kept: {stats}; check the file, or raise max_length"
        raise UserError(message, str(corpus.files[0]))
    text_fingerprint = text_hash.hexdigest()
    # The same text may be divided into other parts, which an entry of the cache records.
    division = part_sizes if len(part_sizes) > 1 else []
    fingerprint = spec.fingerprint(text_fingerprint, *division)
    return CorpusInfo(stats, text_fingerprint, fingerprint, tuple(part_sizes))


def tokenize_block(spec: TokenizationSpec, text: bytes) -> TokenizedBlock:
    """Tokenize and filter a block of pairs.

    Args:
        spec: vocabularies and maximum length
        text: source and target lines in turn, each ended by LF
    """
    lines = text.decode().split("\n")
    block = lines[:-1:2], lines[1::2]
    if spec.preparation.changes_source:
        prepared = list(spec.preparation.pairs(zip(*block, strict=True)))
        block = [source for source, _ in prepared], [target for _, target in prepared]
    sources = spec.source_vocabulary.encode_batch(block[0])
    targets = spec.target_vocabulary.encode_batch(block[1])
    empty, too_long = _filter_pairs(block, sources, targets, spec.max_length)
    kept = np.flatnonzero(~(empty | too_long))
    if len(kept) < len(sources):
        sources, targets = ([side[i] for i in kept.tolist()] for side in (sources, targets))
    # Flat arrays are faster to send to another process than lists of lists.
    source_size, target_size = spec.vocabulary_sizes
    return TokenizedBlock(
        len(block[0]),
        RaggedIds.from_lists(sources, source_size),
        RaggedIds.from_lists(targets, target_size),
        kept,
        np.flatnonzero(empty),
        np.flatnonzero(too_long),
    )


def _filter_pairs(
    block: Block, sources: list[list[int]], targets: list[list[int]], max_length: int
) -> tuple[Array, Array]:
    """Return masks of the pairs with an empty side, and of the others that are too long."""
    lengths = np.array([list(map(len, sources)), list(map(len, targets))])
    # Some vocabularies have tokens for white space, but a blank side is empty nevertheless.
    blank = [is_blank(source) or is_blank(target) for source, target in zip(*block, strict=True)]
    empty = np.array(blank) | (lengths.min(axis=0) == 0)
    return empty, ~empty & (lengths.max(axis=0) > max_length)


def _hash_blocks(
    corpus: Corpus, text_hash: "hashlib._Hash", part_sizes: list[int]
) -> Iterator[bytes]:
    """Yield blocks of source and target lines in turn; hash them, and count the pairs per part."""
    for number, part in enumerate(corpus.parts):
        for sources, targets in part.blocks():
            part_sizes[number] += len(sources)
            lines = chain.from_iterable(zip(sources, targets, strict=True))
            block = ("\n".join(lines) + "\n").encode()
            text_hash.update(block)
            yield block


def _tokenize_blocks(
    texts: Iterator[bytes], spec: TokenizationSpec, processes: int
) -> Generator[TokenizedBlock, None, None]:
    tokenize = partial(tokenize_block, spec)
    # A block is one bytes object, which is faster to send to a process than one string per line.
    first = list(islice(texts, MAX_SERIAL_BLOCKS + 1))
    blocks = chain(first, texts)
    is_short = len(first) <= MAX_SERIAL_BLOCKS
    # An image store would be copied to every process, and its tokenization is a dict lookup.
    if processes == 1 or is_short or isinstance(spec.source_vocabulary, ImageStore):
        yield from map(tokenize, blocks)
    else:
        yield from map_in_order(tokenize, blocks, processes)


def _find_entry(index: Path) -> Path | None:
    """Return the cache entry that an index file points to; None if absent or corrupt.

    An entry is read in full once per start: a flipped bit would silently train another model.
    """
    if not is_regular(index):
        return None
    # The file may contain anything after a crash; a wrong name leads to no intact entry.
    with index.open(encoding="utf-8", errors="replace") as stream:
        name = stream.read(MAX_ENTRY_NAME)
    if not re.fullmatch("[0-9a-f]{64}", name):
        log.warning("%s: is damaged; the text is encoded again", index)
        return None
    entry = index.parent / name
    if is_intact(entry) and _is_complete(entry):
        return entry
    log.warning("%s: is damaged; the text is encoded again", entry)
    return None


def _is_complete(entry: Path) -> bool:
    """Return whether a sealed directory is an entry of this version."""
    try:
        CorpusInfo.from_json(read_metadata(entry))
    except (KeyError, TypeError):
        return False
    return all(is_regular(entry / f"{name}.npy") for name in TokenArrays._fields)


def _fingerprint_file(file: Path) -> Fingerprint:
    try:
        return fingerprint(file)
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}; give a text file", str(file)) from error


def _write_entry(cache_dir: Path, corpus: Corpus, spec: TokenizationSpec, processes: int) -> Path:
    """Tokenize into a subdirectory named by the fingerprint of the tokenized corpus."""
    with staging_dir(cache_dir) as staging:
        with ExitStack() as stack:
            streams = {
                name: stack.enter_context((staging / f"{name}.npy").open("wb"))
                for name in TokenArrays._fields
            }
            info = write_token_arrays(corpus, spec, streams, processes=processes)
        entry = cache_dir / info.fingerprint
        seal_dir(staging, entry, info.to_json())
    return entry
