"""Tokenized corpora: token ids in flat, memory-mapped arrays, and how many pairs were filtered out.

The arrays are .npy files. They are written as streams, since the number of tokens is unknown until
the whole text is tokenized.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BufferedIOBase, BytesIO
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

# NumPy array of any dtype; the shape is in the name or the docstring.
Array = NDArray[Any]

# Maximum number of filtered lines that statistics list.
MAX_LISTED_LINES = 5


@dataclass
class FilterStats:
    """Numbers of pairs that were read, kept and filtered out.

    Attributes:
        read, kept: pairs read and kept
        empty, too_long: pairs filtered out because a side is empty or has too many tokens
        empty_lines, too_long_lines: the first few of these pairs, numbered from 1
    """

    read: int = 0
    kept: int = 0
    empty: int = 0
    too_long: int = 0
    empty_lines: list[int] = field(default_factory=list)
    too_long_lines: list[int] = field(default_factory=list)

    def add(self, *, read: int, kept: int, empty: Array, too_long: Array) -> None:
        """Add the counts of a block; `empty` and `too_long` are pair numbers from 1."""
        self.read += read
        self.kept += kept
        self.empty += len(empty)
        self.too_long += len(too_long)
        self.empty_lines = [*self.empty_lines, *empty.tolist()][:MAX_LISTED_LINES]
        self.too_long_lines = [*self.too_long_lines, *too_long.tolist()][:MAX_LISTED_LINES]

    def __str__(self) -> str:
        text = f"{self.read} pairs read, {self.kept} kept"
        if self.empty:
            text += f"; {self.empty} with an empty side ({_lines(self.empty_lines, self.empty)})"
        if self.too_long:
            text += f"; {self.too_long} too long ({_lines(self.too_long_lines, self.too_long)})"
        return text


def _lines(numbers: list[int], count: int) -> str:
    noun = "line" if count == 1 else "lines"
    return f"{noun} {', '.join(map(str, numbers))}{', ...' if count > len(numbers) else ''}"


class TokenArrays(NamedTuple):
    """Concatenated token ids of all pairs, without begin and end.

    Sentence i of a side is `tokens[offsets[i] : offsets[i + 1]]`.

    Attributes:
        lines: index of each pair among the pairs that were read, from 0
    """

    source_tokens: Array
    source_offsets: Array
    target_tokens: Array
    target_offsets: Array
    lines: Array


class TokenLinks(NamedTuple):
    """Links between the tokens of all pairs, concatenated.

    The links of pair i are those from `offsets[i]` to `offsets[i + 1]`.

    Attributes:
        offsets: first link of each pair, and the number of all links
        source, target: positions of the linked tokens in their sentences
        text_fingerprint: sha256 of the word alignments that they come from
    """

    offsets: Array
    source: Array
    target: Array
    text_fingerprint: str


@dataclass(frozen=True, eq=False)
class TokenCorpus:
    """A map-style dataset of sentence pairs as token ids, without begin and end.

    `corpus[i]` returns the source ids and the target ids of a pair, as views of the arrays.

    Attributes:
        arrays: the token ids
        stats: numbers of pairs read, kept and filtered out
        text_fingerprint: sha256 of the text of all pairs that were read
        fingerprint: sha256 of the text, the vocabularies and everything else that decides the ids
        images: images of an `ImageStore`, one per row, if the source is images; each source is
            then one token, the number of its row
        part_sizes: number of pairs that were read from each part of the corpus
        links: links between the tokens of each pair, if alignments are given
        reverses_targets: whether batches contain the targets from the last token to the first, for
            a model that generates them so
    """

    arrays: TokenArrays
    stats: FilterStats
    text_fingerprint: str
    fingerprint: str
    images: Array | None = None
    part_sizes: tuple[int, ...] = ()
    links: TokenLinks | None = None
    reverses_targets: bool = False

    def __len__(self) -> int:
        return len(self.arrays.lines)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        arrays = self.arrays
        source = slice(arrays.source_offsets[index], arrays.source_offsets[index + 1])
        target = slice(arrays.target_offsets[index], arrays.target_offsets[index + 1])
        return arrays.source_tokens[source], arrays.target_tokens[target]

    @property
    def lines(self) -> Array:
        """Return the index of each pair among the pairs that were read, from 0."""
        return self.arrays.lines

    @property
    def part_bounds(self) -> Array:
        """Return the index of the first pair of each part of the corpus, and the number of all."""
        return np.searchsorted(self.lines, np.cumsum([0, *self.part_sizes]))

    @cached_property
    def source_lengths(self) -> Array:
        """Return the number of source tokens of each pair, without begin and end, as int32."""
        return _lengths(self.arrays.source_offsets)

    @cached_property
    def target_lengths(self) -> Array:
        """Return the number of target tokens of each pair, without begin and end, as int32."""
        return _lengths(self.arrays.target_offsets)


def sentence_lengths(offsets: Array, rows: Array) -> Array:
    """Return the number of tokens of some sentences, as int32.

    Args:
        offsets: start of each sentence of a side, and the end of the last one
        rows: indices of the sentences
    """
    return np.subtract(offsets[rows + 1], offsets[rows], dtype=np.int32, casting="unsafe")


def _lengths(offsets: Array) -> Array:
    # Offsets beyond 32 bits wrap around, and the differences are still correct.
    return np.subtract(offsets[1:], offsets[:-1], dtype=np.int32, casting="unsafe")


class RaggedIds(NamedTuple):
    """Concatenated token ids of several sentences, and the length of each sentence."""

    ids: Array
    lengths: Array

    @classmethod
    def from_lists(cls, sentences: list[list[int]], vocabulary_size: int) -> "RaggedIds":
        """Build the arrays from lists of token ids of a vocabulary of the given size."""
        # fromiter needs no intermediate list of all ids.
        flat = np.fromiter(chain.from_iterable(sentences), id_dtype(vocabulary_size))
        return cls(flat, np.fromiter(map(len, sentences), np.int64, len(sentences)))


def id_dtype(vocabulary_size: int) -> type[np.generic]:
    """Return the smallest dtype for the ids of a vocabulary of the given size."""
    return np.uint16 if vocabulary_size <= 1 << 16 else np.uint32


class NpyWriter:
    """A one-dimensional array that is appended to an .npy stream, on disk or in memory.

    NumPy pads the header, so that it can be overwritten when the length is known.
    """

    def __init__(self, stream: BufferedIOBase, dtype: type[np.generic]) -> None:
        self.stream = stream
        self.dtype = np.dtype(dtype)
        self.length = 0
        self._write_header()

    def append(self, values: Array) -> None:
        """Add values at the end."""
        self.stream.write(values.astype(self.dtype, copy=False).tobytes())
        self.length += len(values)

    def finish(self) -> None:
        """Write the final length into the header; nothing may be appended after it."""
        self.stream.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        # Version 1.0 of the format pads the header to 64 bytes, with room for a longer shape.
        shape = (self.length,)
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self.stream, header)


class TokenArrayWriter:
    """Writer of `TokenArrays`, one stream per array.

    Args:
        streams: a stream for each field of `TokenArrays`, by name
        vocabulary_sizes: sizes of the source and the target vocabulary
    """

    def __init__(
        self, streams: Mapping[str, BufferedIOBase], vocabulary_sizes: tuple[int, int]
    ) -> None:
        source, target = map(id_dtype, vocabulary_sizes)
        dtypes: tuple[type[np.generic], ...] = (source, np.int64, target, np.int64, np.int64)
        fields = zip(TokenArrays._fields, dtypes, strict=True)
        self.writers = {name: NpyWriter(streams[name], dtype) for name, dtype in fields}
        # n sentences have n + 1 offsets, from 0 to the number of tokens.
        for side in ("source", "target"):
            self.writers[f"{side}_offsets"].append(np.zeros(1, np.int64))

    def append(self, sources: RaggedIds, targets: RaggedIds, lines: Array) -> None:
        """Add pairs at the end; `lines` are their indices among the pairs that were read."""
        for side, sentences in (("source", sources), ("target", targets)):
            tokens, offsets = self.writers[f"{side}_tokens"], self.writers[f"{side}_offsets"]
            offsets.append(tokens.length + np.cumsum(sentences.lengths))
            tokens.append(sentences.ids)
        self.writers["lines"].append(lines)

    def finish(self) -> None:
        """Write the final lengths; nothing may be appended after it."""
        for writer in self.writers.values():
            writer.finish()


def read_npy_buffer(stream: BytesIO) -> Array:
    """Return the array of an .npy stream in memory, without a copy."""
    # np.load would copy the data out of the buffer.
    stream.seek(0)
    npy.read_magic(stream)
    (length,), _, dtype = npy.read_array_header_1_0(stream)
    return np.frombuffer(stream.getbuffer(), dtype=dtype, count=length, offset=stream.tell())
