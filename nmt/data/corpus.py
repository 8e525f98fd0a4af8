"""Parallel text on disk: finding the files of a corpus, and reading lines, pairs and blocks.

A shard is one file of tab-separated pairs, or a source file and a target file with as many lines. A
corpus is a sequence of shards. Every file may be compressed with gzip.
"""

import difflib
import glob
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from itertools import islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from nmt.errors import UserError

GZIP = ".gz"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Pairs that are read, tokenized and written together. A block takes a few megabytes of memory, and
# its tokenization takes longer than sending it to another process.
BLOCK_PAIRS = 10_000
# Maximum number of shards that an error names.
MAX_NAMED_SHARDS = 3

Block = tuple[list[str], list[str]]
"""Source lines and target lines of the same length."""

Shard = tuple[Path, ...]
"""Files of a shard: source and target, or one file of tab-separated pairs."""


def read_lines(source: Path | str | Iterable[bytes], name: str = "") -> Iterator[str]:
    """Read the lines of a UTF-8 text lazily, without their line ends.

    Only LF and CRLF end a line; U+2028, U+0085, form feed and a lone CR are part of it. A byte
    order mark at the start is removed. A path that ends in `.gz` is decompressed.

    Args:
        source: a path, or a byte stream such as sys.stdin.buffer, which stays open
        name: name of a stream in error messages

    Raises:
        UserError: if the file cannot be read or is not UTF-8; lines and bytes count from 1
    """
    if not isinstance(source, (str, Path)):
        # Lines of a stream are yielded as they arrive, so a pipe is translated line by line.
        yield from _decode_lines(source, name or str(getattr(source, "name", "<stream>")))
        return
    with open_text(Path(source)) as stream:
        yield from _decode_lines(stream, str(source))


@dataclass(frozen=True)
class Corpus:
    """Sentence pairs in one or more shards, which are read one after the other.

    Attributes:
        shards: files of each shard
        limit: maximum number of pairs to read; None for all
        images: whether a source line is the name of an image file
    """

    shards: tuple[Shard, ...]
    limit: int | None = None
    images: bool = False

    @property
    def files(self) -> list[Path]:
        """Return all files in reading order."""
        return [file for shard in self.shards for file in shard]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield the source and target line of each pair, streaming."""
        return (pair for block in self.blocks() for pair in zip(*block, strict=True))

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of up to BLOCK_PAIRS pairs, streaming; a block belongs to one shard.

        Names of image files are relative to the directory of the text that contains them, and are
        yielded with that directory.

        Raises:
            UserError: if the sides differ in their number of lines, or a line of tab-separated
                pairs does not have two columns
        """
        remaining = self.limit
        for shard in self.shards:
            if remaining == 0:
                return
            read_blocks = _read_columns if len(shard) == 1 else _read_sides
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
        for source_file, *_ in self.shards:
            num_lines = sum(1 for _ in read_lines(source_file))
            if pair < num_lines:
                return f"{source_file}:{pair + 1}"
            pair -= num_lines
        raise AssertionError("the corpus has fewer pairs")


def image_path(name: str, directory: Path) -> str:
    """Return the path of an image that a text in this directory names; '' for a blank name."""
    return str(directory / name.strip()) if name.strip() else ""


def find_corpus(
    specs: Path | str | Sequence[Path | str], source: str, target: str, *, images: bool = False
) -> Corpus:
    """Find the files of a corpus that is named in an experiment file.

    `corpus/train` with de and en names the files corpus/train.de and corpus/train.en, or
    corpus/train.de.gz and corpus/train.en.gz where these do not exist. A spec that ends in .tsv or
    .tsv.gz names a file of tab-separated pairs. Patterns with `*`, `?` and `[...]` match several
    shards, in the alphabetical order of their names; both sides of a shard have the same name.
    `corpus/train.de`, `corpus/part-*.de.gz` and similar names of one side stand for both sides, and
    prefer compressed files if they end in .gz.

    Args:
        specs: one or more specs, read in this order
        source, target: suffixes of the source and target files
        images: whether a source line is the name of an image file

    Raises:
        UserError: if a file is missing; the message lists similar names
    """
    listed = [specs] if isinstance(specs, (Path, str)) else specs
    if not listed:
        raise UserError("the list of corpora is empty; give at least one, such as corpus/train")
    shards = tuple(shard for spec in listed for shard in find_shards(str(spec), source, target))
    return Corpus(shards, images=images)


def find_shards(spec: str, source: str, target: str) -> list[Shard]:
    """Find the shards that a spec names, sorted by name; see `find_corpus`.

    Raises:
        UserError: if no file matches, or a shard has only one side
    """
    stem = spec.removesuffix(GZIP)
    # The compression of the spec is preferred, for files that exist in both forms.
    compressions = ("", GZIP) if stem == spec else (GZIP, "")
    if stem.endswith(".tsv"):
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
        f"no file matches; give a pattern that matches {candidates}, plain or {GZIP}", spec
    )


class _ShardFinder(NamedTuple):
    """A search for shards by name or by pattern.

    Attributes:
        suffixes: suffixes of the files of a shard, after their common name
        compressions: suffixes of plain and compressed files, the preferred one first
    """

    suffixes: tuple[str, ...]
    compressions: tuple[str, str]

    def paths(self, name: str, suffix: str, expand: Callable[[str], list[str]]) -> list[Path]:
        """Return the existing files of one side, those with the preferred compression first.

        Args:
            expand: returns the paths that match a pattern
        """
        paths = (Path(p) for c in self.compressions for p in expand(name + suffix + c))
        return [path for path in paths if path.is_file()]

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
                message = f"not found, nor {path.name}{GZIP}; {_suggest_files(path)}"
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
            names = (str(path).removesuffix(GZIP).removesuffix(suffix) for path in paths)
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
                    f"{GZIP}; add the missing files or remove their other side",
                    pattern,
                )


def _escape_directories(pattern: str) -> str:
    """Escape the leading directories of a pattern that exist under their literal names."""
    # Otherwise the brackets of a directory such as "corpus [1]" would match other names.
    path = Path(pattern)
    directory = next((parent for parent in path.parents if parent.is_dir()), Path())
    return str(Path(glob.escape(str(directory)), path.relative_to(directory)))


def _suggest_files(path: Path) -> str:
    """Return files with similar names in the same directory, in words."""
    directory = path.parent
    if not directory.is_dir():
        return f"the directory {directory} does not exist; give an existing file"
    names = sorted(entry.name for entry in directory.iterdir() if entry.is_file())
    stem = path.name.split(".")[0]
    # Files with the same stem come first, because often only the suffix is wrong.
    similar = [name for name in names if name.split(".")[0] == stem]
    similar += difflib.get_close_matches(path.name, [n for n in names if n not in similar])
    if similar:
        return f"similar names: {', '.join(similar[:5])}"
    return f"nothing similar in {directory}; give an existing file"


@contextmanager
def open_text(path: Path) -> Iterator[BufferedIOBase]:
    """Open a plain or gzip-compressed file as a byte stream.

    Raises:
        UserError: if the file cannot be opened or read, in the body as well
    """
    try:
        with path.open("rb") if path.suffix != GZIP else _open_gzip(path) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"is corrupt ({error}); compress it again with gzip", str(path)) from error
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}; give a text file", str(path)) from error


def _open_gzip(path: Path) -> BufferedIOBase:
    # GzipFile splits lines in Python code; a buffer around it splits them in C.
    return BufferedReader(gzip.open(path), 1 << 18)


def _decode_lines(stream: Iterable[bytes], name: str, first: int = 1) -> Iterator[str]:
    # bytes.splitlines or text mode would also split at a lone CR, and str.splitlines at U+2028.
    for number, line in enumerate(stream, start=first):
        has_mark = number == 1 and line.startswith(BYTE_ORDER_MARK)
        body = line[len(BYTE_ORDER_MARK) :] if has_mark else line
        if body.endswith(b"\n"):
            body = body[:-2] if body.endswith(b"\r\n") else body[:-1]
        try:
            yield body.decode("utf-8")
        except UnicodeDecodeError as error:
            column = error.start + 1 + (len(BYTE_ORDER_MARK) if has_mark else 0)
            message = (
                f"byte {column} is not UTF-8 (0x{body[error.start]:02x}); convert the file to UTF-8"
            )
            raise UserError(message, f"{name}:{number}") from None


def _read_columns(shard: Shard, limit: int | None) -> Iterator[Block]:
    """Read blocks of pairs from a file of tab-separated pairs."""
    (file,) = shard
    num_read = 0
    for lines in _read_line_blocks(file, limit):
        rows = [line.split("\t") for line in lines]
        for number, row in enumerate(rows, start=num_read + 1):
            if len(row) != 2:
                message = f"expected 2 columns, got {len(row)}; write source, one tab, target"
                raise UserError(message, f"{file}:{number}")
        yield [source for source, _ in rows], [target for _, target in rows]
        num_read += len(rows)


def _read_sides(shard: Shard, limit: int | None) -> Iterator[Block]:
    """Read blocks of pairs from a source file and a target file."""
    source_file, target_file = shard
    sides = _read_line_blocks(source_file, limit), _read_line_blocks(target_file, limit)
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


def _read_line_blocks(file: Path, limit: int | None) -> Iterator[list[str]]:
    """Read up to BLOCK_PAIRS lines at a time, and at most `limit` in total."""
    with open_text(file) as stream:
        lines, first = islice(stream, limit), 1
        while block := list(islice(lines, BLOCK_PAIRS)):
            yield _decode_block(block, str(file), first)
            first += len(block)


def _decode_block(lines: list[bytes], name: str, first: int) -> list[str]:
    """Decode lines like `_decode_lines`, but several times as fast in the common case."""
    block = b"".join(lines)
    # The first line may have a byte order mark, and the last one may lack its line end.
    if first > 1 and block.endswith(b"\n") and b"\r\n" not in block:
        with suppress(UnicodeDecodeError):
            return block.decode("utf-8").removesuffix("\n").split("\n")
    return list(_decode_lines(lines, name, first))
