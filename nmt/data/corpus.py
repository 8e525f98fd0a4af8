"""Parallel text on disk: reading lines, pairs, and blocks of pairs."""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from itertools import islice, zip_longest
from pathlib import Path

from nmt.data.shards import PACKED, Shard, find_shards
from nmt.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Pairs that are read, encoded and written at once: enough that the work on them outweighs handing
# them to another process, and a few megabytes of memory.
BLOCK = 10_000

Block = tuple[list[str], list[str]]
"""Sources and as many targets."""


def read_lines(source: Path | str | Iterable[bytes], name: str = "") -> Iterator[str]:
    """Lines of a text in UTF-8, without their ends; reading is lazy.

    Only LF and CRLF end a line; U+2028, U+0085, form feed and a lone CR stay inside. A mark of byte
    order at the start is dropped. A path ending in `.gz` is unpacked.

    Args:
        source: a path, or a stream of bytes such as sys.stdin.buffer, which stays open
        name: what errors call a stream

    Raises:
        UserError: the file cannot be read, or a byte is not UTF-8; places count from 1
    """
    if not isinstance(source, (str, Path)):
        yield from _decode_lines(source, name or str(getattr(source, "name", "<stream>")))
        return
    with _opened(Path(source)) as stream:
        yield from _decode_lines(stream, str(source))


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    try:
        with _open(path) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"is damaged ({error}); pack it again with gzip", str(path)) from error
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}; give a text file", str(path)) from error


def _open(path: Path) -> BufferedIOBase:
    # Lines of a gzip stream are found by Python code, those of a buffer around it by C.
    return BufferedReader(gzip.open(path), 1 << 18) if path.suffix == PACKED else path.open("rb")


def _decode_lines(stream: Iterable[bytes], name: str, first: int = 1) -> Iterator[str]:
    for number, line in enumerate(stream, start=first):
        marked = number == 1 and line.startswith(BYTE_ORDER_MARK)
        body = line[len(BYTE_ORDER_MARK) :] if marked else line
        if body.endswith(b"\n"):
            body = body[:-2] if body.endswith(b"\r\n") else body[:-1]
        try:
            yield body.decode("utf-8")
        except UnicodeDecodeError as error:
            column = error.start + 1 + (len(BYTE_ORDER_MARK) if marked else 0)
            message = (
                f"byte {column} is not UTF-8 (0x{body[error.start]:02x}); convert the file to UTF-8"
            )
            raise UserError(message, f"{name}:{number}") from None


@dataclass(frozen=True)
class Corpus:
    """Sentence pairs, in one or several parts read one after the other.

    Attributes:
        parts: files of each part: (source, target), or one file of tab-separated pairs
        limit: pairs to read, from the first on; None for all
        pictures: whether a source is the name of a picture's file
    """

    parts: tuple[Shard, ...]
    limit: int | None = None
    pictures: bool = False

    @property
    def files(self) -> list[Path]:
        """All files, in reading order."""
        return [file for part in self.parts for file in part]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """(source, target) of each line, streaming; what `blocks` gives, pair by pair."""
        return (pair for block in self.blocks() for pair in zip(*block, strict=True))

    def blocks(self) -> Iterator[Block]:
        """Sources and targets of up to BLOCK pairs of one part at a time, streaming.

        Names of pictures are relative to the folder of their text, and come with it before them.

        Raises:
            UserError: the sides differ in their number of lines, or a line is not two columns
        """
        left = self.limit
        for part in self.parts:
            if left == 0:
                return
            read = _columns if len(part) == 1 else _side_by_side
            for sources, targets in read(part, left):
                if left is not None:
                    left -= len(sources)
                if self.pictures:
                    sources = [locate(name, part[0].parent) for name in sources]
                yield sources, targets

    def place(self, number: int) -> str:
        """File and line of a source, by the number of its pair from 0; for errors."""
        for source_file, *_ in self.parts:
            lines = sum(1 for _ in read_lines(source_file))
            if number < lines:
                return f"{source_file}:{number + 1}"
            number -= lines
        raise AssertionError("no such pair")


def _columns(part: Shard, limit: int | None) -> Iterator[Block]:
    (file,) = part
    read = 0
    for lines in _line_blocks(file, limit):
        rows = [line.split("\t") for line in lines]
        for number, row in enumerate(rows, start=read + 1):
            if len(row) != 2:
                message = f"{len(row)} columns; give source, one tab, target"
                raise UserError(message, f"{file}:{number}")
        yield [source for source, _ in rows], [target for _, target in rows]
        read += len(rows)


def _side_by_side(part: Shard, limit: int | None) -> Iterator[Block]:
    source_file, target_file = part
    sides = _line_blocks(source_file, limit), _line_blocks(target_file, limit)
    read = 0
    for sources, targets in zip_longest(*sides, fillvalue=list[str]()):
        if len(sources) != len(targets):
            here = (len(sources), len(targets))
            counts = [read + n + sum(map(len, side)) for n, side in zip(here, sides, strict=True)]
            raise UserError(
                f"{counts[0]} lines, but {target_file} has {counts[1]}; "
                "line by line, the two must be translations of each other",
                str(source_file),
            )
        yield sources, targets
        read += len(sources)


def _line_blocks(file: Path, limit: int | None) -> Iterator[list[str]]:
    """Up to BLOCK lines at a time, of the first `limit` ones."""
    with _opened(file) as stream:
        lines, first = islice(stream, limit), 1
        while block := list(islice(lines, BLOCK)):
            yield _decode_block(block, str(file), first)
            first += len(block)


def _decode_block(lines: list[bytes], name: str, first: int) -> list[str]:
    """What `_decode_lines` gives: several times as fast, where nothing is special."""
    block = b"".join(lines)
    if first > 1 and block.endswith(b"\n") and b"\r\n" not in block:
        with suppress(UnicodeDecodeError):
            return block.decode("utf-8").removesuffix("\n").split("\n")
    return list(_decode_lines(lines, name, first))


def locate(name: str, folder: Path) -> str:
    """The name of a picture in a text of this folder, from the current folder on; '' for none."""
    return str(folder / name.strip()) if name.strip() else ""


def resolve(
    specs: Path | str | Sequence[Path | str], source: str, target: str, *, pictures: bool = False
) -> Corpus:
    """The corpus that a config names.

    `corpus/train` with de and en is corpus/train.de beside corpus/train.en; where a file is
    missing, its `.gz` is taken. A spec ending in .tsv or .tsv.gz is a file of tab-separated pairs.
    `*`, `?` and `[...]` stand for every match, a shard each, in the order of their names' letters;
    both sides of a shard have the same name. `corpus/train.de`, `corpus/part-*.de.gz` and the like,
    named after one side, mean both sides, and take packed files first where .gz is written.
    Several specs are read one after the other.

    Raises:
        UserError: a file is missing; says what was looked for and what is there
    """
    several = [specs] if isinstance(specs, (Path, str)) else specs
    if not several:
        raise UserError("no corpus is given; give at least one, such as corpus/train")
    parts = tuple(part for spec in several for part in find_shards(str(spec), source, target))
    return Corpus(parts, pictures=pictures)
