"""An encoded corpus: what was kept of it, and its piece ids in flat arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BufferedIOBase, BytesIO
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Array = NDArray[Any]

LINES_NAMED = 5


@dataclass
class Report:
    """What became of the pairs that were read.

    Attributes:
        read, kept: pairs read and kept
        empty, too_long: pairs left out since a side is empty or has too many pieces
        empty_lines, too_long_lines: the first few of these, as numbers of pairs from 1
    """

    read: int = 0
    kept: int = 0
    empty: int = 0
    too_long: int = 0
    empty_lines: list[int] = field(default_factory=list)
    too_long_lines: list[int] = field(default_factory=list)

    def add(self, *, read: int, kept: int, empty: Array, too_long: Array) -> None:
        """Count one more block; `empty` and `too_long` are numbers of pairs from 1."""
        self.read += read
        self.kept += kept
        self.empty += len(empty)
        self.too_long += len(too_long)
        self.empty_lines = [*self.empty_lines, *empty[:LINES_NAMED].tolist()][:LINES_NAMED]
        self.too_long_lines = [*self.too_long_lines, *too_long[:LINES_NAMED].tolist()][:LINES_NAMED]

    def __str__(self) -> str:
        words = f"{self.read} pairs read, {self.kept} kept"
        if self.empty:
            words += f"; {self.empty} with an empty side ({_lines(self.empty_lines, self.empty)})"
        if self.too_long:
            words += f"; {self.too_long} too long ({_lines(self.too_long_lines, self.too_long)})"
        return words


def _lines(numbers: list[int], count: int) -> str:
    word = "line" if count == 1 else "lines"
    return f"{word} {', '.join(map(str, numbers))}{', ...' if count > len(numbers) else ''}"


class Arrays(NamedTuple):
    """Piece ids of pairs, without begin and end; pair i is `tokens[offsets[i] : offsets[i + 1]]`.

    Attributes:
        lines: number of each pair among those that were read, from 0
    """

    source_tokens: Array
    source_offsets: Array
    target_tokens: Array
    target_offsets: Array
    lines: Array


@dataclass(frozen=True, eq=False)
class EncodedCorpus:
    """The pairs of a corpus as piece ids, without begin and end.

    Attributes:
        arrays: the ids
        report: what was read, kept and left out
        text_fingerprint: sha256 of the text of all pairs read
        fingerprint: sha256 of text, vocabularies and everything else that decides the ids
        pictures: of an album, one a row, where the source is pictures; each source is then one
            piece, the number of its row
    """

    arrays: Arrays
    report: Report
    text_fingerprint: str
    fingerprint: str
    pictures: Array | None = None

    def __len__(self) -> int:
        return len(self.arrays.lines)

    def source(self, index: int) -> Array:
        """Source ids of a pair."""
        offsets = self.arrays.source_offsets
        return self.arrays.source_tokens[offsets[index] : offsets[index + 1]]

    def target(self, index: int) -> Array:
        """Target ids of a pair."""
        offsets = self.arrays.target_offsets
        return self.arrays.target_tokens[offsets[index] : offsets[index + 1]]

    @property
    def lines(self) -> Array:
        """Number of each pair among those that were read, from 0."""
        return self.arrays.lines

    @cached_property
    def source_lengths(self) -> Array:
        """Source pieces of each pair, without begin and end, in 32 bits."""
        return _lengths(self.arrays.source_offsets)

    @cached_property
    def target_lengths(self) -> Array:
        """Target pieces of each pair, without begin and end, in 32 bits."""
        return _lengths(self.arrays.target_offsets)


def _lengths(offsets: Array) -> Array:
    # Where offsets exceed 32 bits, both lose the same bits, and the difference is right.
    return np.subtract(offsets[1:], offsets[:-1], dtype=np.int32, casting="unsafe")


class GrowingArray:
    """A one-dimensional array written bit by bit into an .npy stream, on disk or in memory.

    NumPy pads the header so that it can be written again once the length is known.
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
        """Note the length; nothing is appended after that."""
        self.stream.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        shape = (self.length,)
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self.stream, header)


class Sentences(NamedTuple):
    """Ids of some sentences of one side, one sentence after the other, and how many each has."""

    ids: Array
    lengths: Array

    @classmethod
    def of(cls, ids: list[list[int]], pieces: int) -> "Sentences":
        """From lists, of a vocabulary of so many pieces."""
        flat = np.fromiter(chain.from_iterable(ids), id_type(pieces))
        return cls(flat, np.fromiter(map(len, ids), np.int64, len(ids)))


def id_type(pieces: int) -> type[np.generic]:
    """The least type that holds the ids of a vocabulary of so many pieces."""
    return np.uint16 if pieces <= 1 << 16 else np.uint32


class EncodingWriter:
    """The arrays of an EncodedCorpus while they grow, each in the stream of its name.

    Args:
        sizes: number of pieces of the source and of the target vocabulary
    """

    def __init__(self, streams: Mapping[str, BufferedIOBase], sizes: tuple[int, int]) -> None:
        source, target = map(id_type, sizes)
        types: tuple[type[np.generic], ...] = (source, np.int64, target, np.int64, np.int64)
        named = zip(Arrays._fields, types, strict=True)
        self.arrays = {name: GrowingArray(streams[name], dtype) for name, dtype in named}
        for side in ("source", "target"):
            self.arrays[f"{side}_offsets"].append(np.zeros(1, np.int64))

    def add(self, sources: Sentences, targets: Sentences, lines: Array) -> None:
        """Append pairs of ids, and their numbers among those read."""
        for side, sentences in (("source", sources), ("target", targets)):
            tokens, offsets = self.arrays[f"{side}_tokens"], self.arrays[f"{side}_offsets"]
            offsets.append(tokens.length + np.cumsum(sentences.lengths))
            tokens.append(sentences.ids)
        self.arrays["lines"].append(lines)

    def finish(self) -> None:
        """Note the lengths; nothing is added after that."""
        for array in self.arrays.values():
            array.finish()


def memory_array(stream: BytesIO) -> Array:
    """The array that an .npy stream in memory holds, without a copy."""
    stream.seek(0)
    npy.read_magic(stream)
    (length,), _, dtype = npy.read_array_header_1_0(stream)
    return np.frombuffer(stream.getbuffer(), dtype=dtype, count=length, offset=stream.tell())
