"""Parallel text on disk: the corpora that a text consists of, and reading its pairs in blocks.

A shard is one table of pairs, or a source file and a target file with as many lines. A part is a
sequence of shards, and a corpus a sequence of parts, which are read one after the other. Every file
may be compressed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress, islice, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmt.data.shards import Shard, find_shards
from nmt.data.table import Column, Table
from nmt.data.text import is_blank, read_line_blocks, read_lines
from nmt.errors import UserError

# Pairs that are read, tokenized and written together. A block takes a few megabytes of memory, and
# its tokenization takes longer than sending it to another process.
BLOCK_PAIRS = 10_000

Block = tuple[list[str], list[str]]
"""Source lines and target lines of the same length."""


@dataclass(frozen=True, eq=False)
class Selection:
    """A selection of the pairs of a part: those for training, or those held out for validation.

    Attributes:
        key: values that identify the rule of selection
        kept: whether each pair of the part is selected
    """

    key: tuple[object, ...]
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class CorpusPart:
    """Sentence pairs in one or more shards, which are read one after the other.

    Attributes:
        name: the name of its files in the experiment file
        shards: files of each shard
        limit: maximum number of pairs to read; None for all
        images: whether a source line is the name of an image file
        columns: columns of source and target in tables; None to recognize them
        languages: suffixes of source and target, which may name the columns of a table
        tag: symbol before every source line; None without one
        weight: how often an epoch of training reads each pair
        selection: the pairs that are read; None for all
    """

    name: str
    shards: tuple[Shard, ...]
    limit: int | None = None
    images: bool = False
    columns: tuple[Column, ...] | None = None
    languages: tuple[str, ...] = ()
    tag: str | None = None
    weight: float = 1.0
    selection: Selection | None = None

    @property
    def files(self) -> list[Path]:
        """Return all files in reading order."""
        return [file for shard in self.shards for file in shard]

    @property
    def has_tables(self) -> bool:
        """Return whether some of the files are tables."""
        return any(len(shard) == 1 for shard in self.shards)

    @property
    def reading(self) -> tuple[object, ...]:
        """Return the settings that decide the pairs of the same files, besides the limit."""
        columns = (self.columns, self.languages) if self.has_tables else ()
        key = () if self.selection is None else self.selection.key
        return (*columns, *(() if self.tag is None else ("tag", self.tag)), *key)

    @property
    def tag_words(self) -> int:
        """Return the number of words before those of a source line in its file."""
        return 0 if self.tag is None else 1

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of up to BLOCK_PAIRS pairs; see `Corpus.blocks`."""
        remaining, read = self.limit, 0
        for shard in self.shards:
            if remaining == 0:
                return
            read_blocks = self._read_table if len(shard) == 1 else _read_sides
            for sources, targets in read_blocks(shard, remaining):
                # A block has at most `remaining` pairs, because its reader has the same limit.
                if remaining is not None:
                    remaining -= len(sources)
                if self.selection is not None:
                    kept = self.selection.kept[read : read + len(sources)].tolist()
                    read += len(sources)
                    sources, targets = list(compress(sources, kept)), list(compress(targets, kept))
                if self.images:
                    sources = [image_path(name, shard[0].parent) for name in sources]
                if self.tag is not None:
                    sources = [add_tag(source, self.tag) for source in sources]
                yield sources, targets

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield the source and target line of each pair, streaming."""
        return (pair for block in self.blocks() for pair in zip(*block, strict=True))

    def locations(self) -> Iterator[str]:
        """Yield the file and line of each source."""
        found = (
            f"{shard[0]}:{number}" for shard in self.shards for number in self._line_numbers(shard)
        )
        limited = islice(found, self.limit)
        return limited if self.selection is None else compress(limited, self.selection.kept)

    def _line_numbers(self, shard: Shard) -> Iterator[int]:
        if len(shard) == 1:
            return (number for number, _ in self.table(shard).rows())
        return (number for number, _ in enumerate(read_lines(shard[0]), start=1))

    def table(self, shard: Shard) -> Table:
        """Return the table of a shard that is a single file."""
        return Table(shard[0], self.columns, self.languages)

    def notes(self) -> list[str]:
        """Return the recognized header rows and quotes of all tables as sentences for the log."""
        tables = (self.table(shard) for shard in self.shards if len(shard) == 1)
        return [note for table in tables for note in table.notes()]

    def _read_table(self, shard: Shard, limit: int | None) -> Iterator[Block]:
        rows = islice(self.table(shard).rows(), limit)
        while block := list(islice(rows, BLOCK_PAIRS)):
            yield [source for _, (source, _) in block], [target for _, (_, target) in block]


@dataclass(frozen=True)
class Corpus:
    """Sentence pairs in one or more parts, each with a tag and a weight of its own.

    Attributes:
        parts: at least one
    """

    parts: tuple[CorpusPart, ...]

    @property
    def files(self) -> list[Path]:
        """Return all files in reading order."""
        return [file for part in self.parts for file in part.files]

    @property
    def images(self) -> bool:
        """Return whether a source line is the name of an image file."""
        return self.parts[0].images

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the suffixes of source and target of the first part."""
        return self.parts[0].languages

    @property
    def has_tables(self) -> bool:
        """Return whether some of the files are tables."""
        return any(part.has_tables for part in self.parts)

    @property
    def reading(self) -> tuple[object, ...]:
        """Return the settings that decide the pairs of the same files, besides the limit."""
        if len(self.parts) == 1:
            return self.parts[0].reading
        return tuple((len(part.files), part.reading) for part in self.parts)

    def limited(self, limit: int | None) -> "Corpus":
        """Return the first pairs of each part, with equal shares of the limit; None for all."""
        share = None if limit is None else -(-limit // len(self.parts))
        return Corpus(tuple(replace(part, limit=share) for part in self.parts))

    def untagged(self) -> "Corpus":
        """Return the text of the files, without tags."""
        return Corpus(tuple(replace(part, tag=None) for part in self.parts))

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield the source and target line of each pair, streaming."""
        return (pair for part in self.parts for pair in part.pairs())

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of up to BLOCK_PAIRS pairs, streaming; a block belongs to one shard.

        Names of image files are relative to the directory of the text that contains them, and are
        yielded with that directory. The tag of a part is before its source lines.

        Raises:
            UserError: if the sides differ in their number of lines, or a row of a table lacks a
                column
        """
        return (block for part in self.parts for block in part.blocks())

    def location(self, pair: int) -> str:
        """Return the file and line of a source, for error messages.

        Args:
            pair: index of the pair in the corpus, from 0
        """
        # Counts lines again, which is slow but happens only for an error.
        locations = (location for part in self.parts for location in part.locations())
        return next(islice(locations, pair, None))

    def notes(self) -> list[str]:
        """Return the recognized header rows and quotes of all tables as sentences for the log."""
        return [note for part in self.parts for note in part.notes()]


def add_tag(source: str, tag: str) -> str:
    """Return a source line with a tag as its first word; an empty line stays empty."""
    has_tag = source.split(maxsplit=1)[:1] == [tag]
    return source if has_tag or is_blank(source) else f"{tag} {source}"


def image_path(name: str, directory: Path) -> str:
    """Return the path of an image that a text in this directory names; '' for a blank name."""
    return str(directory / name.strip()) if name.strip() else ""


def find_corpus(
    specs: Path | str | Sequence[Path | str],
    source: str,
    target: str,
    *,
    images: bool = False,
    columns: Sequence[Column] | None = None,
) -> Corpus:
    """Find the files of a corpus that an experiment file names, or of several.

    `corpus/train` with de and en names the files corpus/train.de and corpus/train.en, or their
    compressed forms (.gz, .bz2, .xz, .zst) where these do not exist. A spec that ends in .tsv or
    .csv, compressed or not, names a table of pairs. Patterns with `*`, `?` and `[...]` match
    several shards, in the alphabetical order of their names; both sides of a shard have the same
    name. `corpus/train.de`, `corpus/part-*.de.gz` and similar names of one side name both
    sides, and prefer compressed files if they name one.

    Args:
        specs: one or more specs, read in this order
        source, target: suffixes of the source and target files
        images: whether a source line is the name of an image file
        columns: columns of source and target in tables, by number from 1 or by name; None to
            recognize them

    Raises:
        UserError: if a file is missing; the message lists similar names
    """
    listed = [specs] if isinstance(specs, (Path, str)) else specs
    if not listed:
        raise UserError("the list of corpora is empty; give at least one, such as corpus/train")
    parts = [find_part(one, source, target, images=images, columns=columns) for one in listed]
    return Corpus(tuple(parts))


def find_part(
    spec: Path | str,
    source: str,
    target: str,
    *,
    images: bool = False,
    columns: Sequence[Column] | None = None,
    tag: str | None = None,
    weight: float = 1.0,
) -> CorpusPart:
    """Find the files of one spec; see `find_corpus`, and `CorpusPart` for the other arguments."""
    return CorpusPart(
        str(spec),
        tuple(find_shards(str(spec), source, target)),
        images=images,
        columns=None if columns is None else tuple(columns),
        languages=(source, target),
        tag=tag,
        weight=weight,
    )


def _read_sides(shard: Shard, limit: int | None) -> Iterator[Block]:
    """Read blocks of pairs from a source file and a target file."""
    source_file, target_file = shard
    sides = [read_line_blocks(file, BLOCK_PAIRS, limit) for file in shard]
    num_read = 0
    for sources, targets in zip_longest(*sides, fillvalue=list[str]()):
        if len(sources) != len(targets):
            # Read the longer side to its end, to report the numbers of lines.
            sizes = (len(sources), len(targets))
            counts = [
                num_read + size + sum(map(len, side))
                for size, side in zip(sizes, sides, strict=True)
            ]
            raise UserError(
                f"has {counts[0]} lines, but {target_file} has {counts[1]}; "
                "give files whose lines are translations of each other",
                str(source_file),
            )
        yield sources, targets
        num_read += len(sources)
