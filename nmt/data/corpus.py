"""Parallel text on disk: finding the files of a corpus, and reading its pairs in blocks.

A shard is one table of pairs, or a source file and a target file with as many lines. A corpus is a
sequence of shards. Every file may be compressed.
"""

import difflib
import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from nmt.data.compression import FORMATS
from nmt.data.table import Column, Table, check_format, is_table
from nmt.data.text import read_line_blocks, read_lines
from nmt.errors import UserError

COMPRESSED = tuple(FORMATS)
# Pairs that are read, tokenized and written together. A block takes a few megabytes of memory, and
# its tokenization takes longer than sending it to another process.
BLOCK_PAIRS = 10_000
# Maximum number of shards that an error names.
MAX_NAMED_SHARDS = 3
# Maximum number of similar names that an error lists.
MAX_SIMILAR = 5

Block = tuple[list[str], list[str]]
"""Source lines and target lines of the same length."""

Shard = tuple[Path, ...]
"""Files of a shard: source and target, or one table of pairs."""


@dataclass(frozen=True)
class Corpus:
    """Sentence pairs in one or more shards, which are read one after the other.

    Attributes:
        shards: files of each shard
        limit: maximum number of pairs to read; None for all
        images: whether a source line is the name of an image file
        columns: columns of source and target in tables; None to recognize them
        languages: suffixes of source and target, which may name the columns of a table
    """

    shards: tuple[Shard, ...]
    limit: int | None = None
    images: bool = False
    columns: tuple[Column, ...] | None = None
    languages: tuple[str, ...] = ()

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
        return (self.columns, self.languages) if self.has_tables else ()

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield the source and target line of each pair, streaming."""
        return (pair for block in self.blocks() for pair in zip(*block, strict=True))

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of up to BLOCK_PAIRS pairs, streaming; a block belongs to one shard.

        Names of image files are relative to the directory of the text that contains them, and are
        yielded with that directory.

        Raises:
            UserError: if the sides differ in their number of lines, or a row of a table lacks a
                column
        """
        remaining = self.limit
        for shard in self.shards:
            if remaining == 0:
                return
            read_blocks = self._read_table if len(shard) == 1 else _read_sides
            for sources, targets in read_blocks(shard, remaining):
                # A block has at most `remaining` pairs, because its reader has the same limit.
                if remaining is not None:
                    remaining -= len(sources)
                if self.images:
                    sources = [image_path(name, shard[0].parent) for name in sources]
                yield sources, targets

    def location(self, pair: int) -> str:
        """Return the file and line of a source, for error messages.

        Args:
            pair: index of the pair in the corpus, from 0
        """
        # Counts lines again, which is slow but happens only for an error.
        for shard in self.shards:
            if len(shard) == 1:
                numbers = (number for number, _ in self.table(shard).rows())
            else:
                numbers = (number for number, _ in enumerate(read_lines(shard[0]), start=1))
            for number in numbers:
                if pair == 0:
                    return f"{shard[0]}:{number}"
                pair -= 1
        raise AssertionError("the corpus has fewer pairs")

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
    """Find the files of a corpus that is named in an experiment file.

    `corpus/train` with de and en names the files corpus/train.de and corpus/train.en, or their
    compressed forms (.gz, .bz2, .xz, .zst) where these do not exist. A spec that ends in .tsv or
    .csv, compressed or not, names a table of pairs. Patterns with `*`, `?` and `[...]` match
    several shards, in the alphabetical order of their names; both sides of a shard have the same
    name. `corpus/train.de`, `corpus/part-*.de.gz` and similar names of one side stand for both
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
    shards = tuple(shard for spec in listed for shard in find_shards(str(spec), source, target))
    selected = None if columns is None else tuple(columns)
    return Corpus(shards, images=images, columns=selected, languages=(source, target))


def find_shards(spec: str, source: str, target: str) -> list[Shard]:
    """Find the shards that a spec names, sorted by name; see `find_corpus`.

    Raises:
        UserError: if no file matches, or a shard has only one side
    """
    compression = next((suffix for suffix in COMPRESSED if spec.endswith(suffix)), "")
    stem = spec.removesuffix(compression)
    # The compression of the spec is preferred, for files that exist in several forms.
    compressions = tuple(dict.fromkeys((compression, "", *COMPRESSED)))
    if _is_file(Path(spec)):
        check_format(spec)
    if is_table(stem):
        finder, names = _ShardFinder(("",), compressions), [stem]
    else:
        finder = _ShardFinder((f".{source}", f".{target}"), compressions)
        # "news.de" is the name of both sides if news.de.de exists, and otherwise of one side.
        names = [spec, *(stem.removesuffix(s) for s in finder.suffixes if stem.endswith(s))]
    for name in names:
        # Existing names come before patterns, since a file name may contain brackets.
        if any(finder.paths(name, suffix, lambda path: [path]) for suffix in finder.suffixes):
            return [finder.find(name)]
        if glob.has_magic(name) and (shards := finder.match(name)):
            return shards
    # No file was found, so `find` raises an error that suggests similar names.
    if not glob.has_magic(spec):
        return [finder.find(names[-1])]
    candidates = " or ".join(names[-1] + suffix for suffix in finder.suffixes)
    raise UserError(
        f"no file matches; give a pattern that matches {candidates}, plain or compressed", spec
    )


def _is_file(path: Path) -> bool:
    """Return whether a path is a regular file, as far as permissions allow to know."""
    try:
        return path.is_file()
    except PermissionError:
        return True  # reading it reports the reason
    except (OSError, ValueError):  # a name that the system refuses
        return False


class _ShardFinder(NamedTuple):
    """A search for shards by name or by pattern.

    Attributes:
        suffixes: suffixes of the files of a shard, after their common name
        compressions: suffixes of plain and compressed files, the preferred one first
    """

    suffixes: tuple[str, ...]
    compressions: tuple[str, ...]

    def paths(self, name: str, suffix: str, expand: Callable[[str], list[str]]) -> list[Path]:
        """Return the existing files of one side, those with the preferred compression first.

        Args:
            expand: returns the paths that match a pattern
        """
        paths = (Path(p) for c in self.compressions for p in expand(name + suffix + c))
        return [path for path in paths if _is_file(path)]

    def find(self, name: str) -> Shard:
        """Return the files of the shard with this name.

        Raises:
            UserError: if a file is missing
        """
        shard = []
        for suffix in self.suffixes:
            found = self.paths(name, suffix, lambda path: [path])
            if not found:
                path = Path(name + suffix)
                message = f"not found, plain or compressed; {_suggest_files(path)}"
                with suppress(OSError, ValueError):
                    if path.exists():
                        message = "is no regular file; give a text file, which is read repeatedly"
                raise UserError(message, str(path))
            shard.append(found[0])
        return tuple(shard)

    def match(self, pattern: str) -> list[Shard]:
        """Return the shards whose names match a pattern.

        Raises:
            UserError: if some of them have only one side
        """
        sides: list[dict[str, Path]] = []
        for suffix in self.suffixes:
            paths = self.paths(_escape_directories(pattern), suffix, glob.glob)
            names = (_remove_compression(path).removesuffix(suffix) for path in paths)
            # A file may exist both plain and compressed. A dict keeps the last value of a key, so
            # reversing prefers the first compression.
            sides.append(dict(reversed(list(zip(names, paths, strict=True)))))
        self._check_sides(pattern, [set(side) for side in sides])
        return [tuple(side[name] for side in sides) for name in sorted(sides[0])]

    def _check_sides(self, pattern: str, names: list[set[str]]) -> None:
        complete = set.intersection(*names)
        for present, missing_suffix in zip(names, reversed(self.suffixes), strict=True):
            missing = [name + missing_suffix for name in sorted(present - complete)]
            if missing:
                listed = ", ".join(missing[:MAX_NAMED_SHARDS])
                if len(missing) > MAX_NAMED_SHARDS:
                    listed += f" and {len(missing) - MAX_NAMED_SHARDS} more"
                raise UserError(
                    f"{len(complete)} shards have both sides, but {listed} not found, plain or "
                    "compressed; add the missing files or remove their other side",
                    pattern,
                )


def _remove_compression(path: Path) -> str:
    return str(path.with_suffix("")) if path.suffix in FORMATS else str(path)


def _escape_directories(pattern: str) -> str:
    """Escape the leading directories of a pattern that exist under their literal names."""
    # Otherwise the brackets of a directory such as "corpus [1]" would match other names.
    path = Path(pattern)
    directory = next((parent for parent in path.parents if parent.is_dir()), Path())
    return str(Path(glob.escape(str(directory)), path.relative_to(directory)))


def _suggest_files(path: Path) -> str:
    """Return files with similar names in the same directory, in words."""
    directory = path.parent
    try:
        names = sorted(entry.name for entry in directory.iterdir() if _is_file(entry))
    except (FileNotFoundError, NotADirectoryError):
        variable = "; variables such as $HOME are not expanded" if "$" in str(path) else ""
        return f"the directory {directory} does not exist{variable}; give an existing file"
    except OSError as error:
        return f"the directory {directory} cannot be read: {error.strerror}"
    stem = path.name.split(".")[0]
    # Files with the same stem come first, because often only the suffix is wrong; of several, those
    # of the same language.
    similar = [name for name in names if name.split(".")[0] == stem]
    others = [name for name in names if name not in similar]
    similar, close = (
        sorted(group, key=lambda name: path.suffix not in Path(name).suffixes)
        for group in (similar, difflib.get_close_matches(path.name, others, n=MAX_SIMILAR))
    )
    if similar or close:
        return f"similar names: {', '.join([*similar, *close][:MAX_SIMILAR])}"
    return f"nothing similar in {directory}; give an existing file"


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
