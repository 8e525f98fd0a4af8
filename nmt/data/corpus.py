"""Parallel text on disk: finding the files, reading lines and pairs."""

import difflib
import glob
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from itertools import chain, islice, zip_longest
from pathlib import Path

from nmt.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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
    path = Path(source)
    try:
        with _open(path) as stream:
            yield from _decode_lines(stream, str(path))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"is damaged ({error}); pack it again with gzip", str(path)) from error
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}; give a text file", str(path)) from error


def _open(path: Path) -> BufferedIOBase:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _decode_lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
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

    parts: tuple[tuple[Path, ...], ...]
    limit: int | None = None
    pictures: bool = False

    @property
    def files(self) -> list[Path]:
        """All files, in reading order."""
        return [file for part in self.parts for file in part]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """(source, target) of each line, streaming.

        Names of pictures are relative to the folder of their text, and come with it before them.

        Raises:
            UserError: the sides differ in their number of lines, or a line is not two columns
        """
        parts = (_columns(*p) if len(p) == 1 else _side_by_side(*p) for p in self.parts)
        if self.pictures:
            parts = (_located(part, pairs) for part, pairs in zip(self.parts, parts, strict=True))
        return islice(chain.from_iterable(parts), self.limit)

    def place(self, number: int) -> str:
        """File and line of a source, by the number of its pair from 0; for errors."""
        for source_file, *_ in self.parts:
            lines = sum(1 for _ in read_lines(source_file))
            if number < lines:
                return f"{source_file}:{number + 1}"
            number -= lines
        raise AssertionError("no such pair")


def _columns(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_lines(file), start=1):
        columns = line.split("\t")
        if len(columns) != 2:
            message = f"{len(columns)} columns; give source, one tab, target"
            raise UserError(message, f"{file}:{number}")
        yield columns[0], columns[1]


def _side_by_side(source_file: Path, target_file: Path) -> Iterator[tuple[str, str]]:
    sources, targets = read_lines(source_file), read_lines(target_file)
    for number, (source, target) in enumerate(zip_longest(sources, targets)):
        if source is None or target is None:
            source_count = number + (source is not None) + sum(1 for _ in sources)
            target_count = number + (target is not None) + sum(1 for _ in targets)
            raise UserError(
                f"{source_count} lines, but {target_file} has {target_count}; "
                "line by line, the two must be translations of each other",
                str(source_file),
            )
        yield source, target


def _located(part: tuple[Path, ...], pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    folder = part[0].parent
    return ((locate(name, folder), target) for name, target in pairs)


def locate(name: str, folder: Path) -> str:
    """The name of a picture in a text of this folder, from the current folder on; '' for none."""
    return str(folder / name.strip()) if name.strip() else ""


def resolve(
    specs: Path | str | Sequence[Path | str], source: str, target: str, *, pictures: bool = False
) -> Corpus:
    """The corpus that a config names.

    `corpus/train` with de and en is corpus/train.de beside corpus/train.en; where a file is
    missing, its `.gz` is taken. A spec ending in .tsv or .tsv.gz is a file of tab-separated pairs.
    `*`, `?` and `[...]` stand for every match, sorted. Several specs are read one after the other.

    Raises:
        UserError: a file is missing; says what was looked for and what is there
    """
    several = [specs] if isinstance(specs, (Path, str)) else specs
    if not several:
        raise UserError("no corpus is given; give at least one, such as corpus/train")
    parts = tuple(part for spec in several for part in _parts(str(spec), source, target))
    return Corpus(parts, pictures=pictures)


def _parts(spec: str, source: str, target: str) -> list[tuple[Path, ...]]:
    tabbed = spec.endswith((".tsv", ".tsv.gz"))
    suffixes = [""] if tabbed else [f".{source}", f".{target}"]
    names = _expand(spec, suffixes) if glob.has_magic(spec) else [spec]
    return [tuple(_find(name + suffix) for suffix in suffixes) for name in names]


def _expand(pattern: str, suffixes: list[str]) -> list[str]:
    """What the pattern stands for: names that have at least one of the suffixes."""
    names: set[str] = set()
    for suffix in suffixes:
        for packed in ("", ".gz"):
            ending = suffix + packed
            found = glob.glob(pattern + ending)
            names.update(name.removesuffix(ending) for name in found)
    if not names:
        looked_for = " or ".join(pattern + suffix for suffix in suffixes)
        raise UserError(f"no file matches; looked for {looked_for}, plain or .gz", pattern)
    return sorted(names)


def _find(name: str) -> Path:
    path, packed = Path(name), Path(name + ".gz")
    for candidate in (path, packed):
        if candidate.is_file():
            return candidate
    looked_for = "no such file" if path.suffix == ".gz" else f"no such file, nor {packed.name}"
    raise UserError(f"{looked_for}; {_what_is_there(path)}", name)


def _what_is_there(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    stem = path.name.split(".")[0]
    similar = [name for name in names if name.split(".")[0] == stem]
    similar += difflib.get_close_matches(path.name, [n for n in names if n not in similar])
    if similar:
        return f"similar there: {', '.join(similar[:5])}"
    return f"nothing similar in {folder}"
