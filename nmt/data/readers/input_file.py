"""Input files as byte streams of UTF-8 text: plain, compressed, UTF-16, or inside an archive."""

import codecs
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from nmt.data.compression import FORMATS, MAX_RATIO, MIN_BOMB_BYTES, open_decompressed
from nmt.data.text import decode_lines, open_text, raw_lines
from nmt.errors import UserError
from nmt.files import open_regular

BLOCK_BYTES = 1 << 16
# That of UTF-32 in little-endian order begins with that of UTF-16.
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF_32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# Exceptions of zipfile and of the decompression of a member. A damaged offset is an OSError, and a
# damaged name or number a ValueError or struct.error.
DAMAGED_ARCHIVE = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError),
    *(zlib.error, lzma.LZMAError, struct.error, ValueError),
)


class InputFile(NamedTuple):
    """A file of an input.

    Attributes:
        path: name in messages; for a member of an archive, that of the archive comes first
        opener: opens the plain bytes of the file
    """

    path: Path
    opener: Callable[[], AbstractContextManager[io.BufferedReader]]

    @property
    def stem(self) -> Path:
        """Return the path without the suffix of a compression format."""
        return self.path.with_suffix("") if self.path.suffix in FORMATS else self.path

    @property
    def suffix(self) -> str:
        """Return the suffix of the plain file, in lower case."""
        return self.stem.suffix.lower()

    @contextmanager
    def open_utf8(self) -> Iterator[io.BufferedReader]:
        """Open the text as UTF-8; UTF-16 with a byte order mark is converted.

        Raises:
            UserError: if the file cannot be read
        """
        with self.opener() as stream:
            if _is_utf16(stream):
                yield io.BufferedReader(_Utf16AsUtf8(stream, str(self.path)), BLOCK_BYTES)
            else:
                yield stream

    def is_utf16(self) -> bool:
        """Return whether the text is UTF-16 with a byte order mark."""
        with self.opener() as stream:
            return _is_utf16(stream)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the text without their ends.

        Raises:
            UserError: if the file cannot be read or is not UTF-8 or UTF-16, with line and byte
        """
        with self.open_utf8() as stream:
            yield from decode_lines(raw_lines(stream), str(self.path))


def _is_utf16(stream: io.BufferedReader) -> bool:
    start = stream.peek(4)[:4]
    return start.startswith(UTF_16_MARKS) and not start.startswith(UTF_32_MARKS)


def plain_file(path: Path) -> InputFile:
    """Return the input file at a path, which may be compressed."""

    @contextmanager
    def opener() -> Iterator[io.BufferedReader]:
        open_regular(path).close()  # reports directories, devices and missing files
        with open_text(path) as stream:
            yield stream

    return InputFile(path, opener)


def archive_members(path: Path) -> list[InputFile]:
    """Return the files in a ZIP archive, without extracting it.

    Raises:
        UserError: if the archive is damaged or encrypted, or a member expands without bound
    """
    with _open_archive(path) as archive:
        members = [one for one in archive.infolist() if not one.is_dir()]
    for member in members:
        name = f"{path}/{member.filename}"
        if member.flag_bits & 1:
            raise UserError("is encrypted; extract the archive first", name)
        bound = max(MIN_BOMB_BYTES, MAX_RATIO * member.compress_size)
        if member.file_size > bound:
            message = f"expands to more than {MAX_RATIO} times its size; extract it if intended"
            raise UserError(message, name)
    return [_member(path, member.filename) for member in members]


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            yield archive
    except UserError:
        raise
    except DAMAGED_ARCHIVE as error:
        raise UserError(f"cannot be read: {error}; download the archive again", str(path)) from None


def _member(path: Path, name: str) -> InputFile:
    # An absolute name, or one with "..", stays inside of the archive: nothing below a file exists.
    location = Path(f"{path}/{name}")

    @contextmanager
    def opener() -> Iterator[io.BufferedReader]:
        with _open_archive(path) as archive, archive.open(name) as stream:
            # A damaged member raises BadZipFile when its last byte is read.
            buffered = io.BufferedReader(cast(Any, stream), BLOCK_BYTES)
            yield open_decompressed(buffered, str(location))

    return InputFile(location, opener)


class _Utf16AsUtf8(io.RawIOBase):
    """A stream of UTF-16 text as UTF-8.

    Args:
        stream: begins with a byte order mark
        name: name of the file in error messages
    """

    def __init__(self, stream: io.BufferedReader, name: str) -> None:
        self._stream, self._name = stream, name
        self._decoder = codecs.getincrementaldecoder("utf-16")()
        self._line, self._position, self._rest = 1, 0, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        is_end = False
        while not self._rest and not is_end:
            block = self._stream.read(BLOCK_BYTES)
            is_end = not block
            self._rest = self._convert(block, is_end)
        block, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(block)] = block
        return len(block)

    def _convert(self, block: bytes, is_end: bool) -> bytes:
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(block, is_end)
        except UnicodeDecodeError as error:
            self._line += error.object[: error.start].count(b"\n")
            byte = self._position - pending + error.start + 1
            message = f"byte {byte} is not UTF-16; convert the file to UTF-8"
            raise UserError(message, f"{self._name}:{self._line}") from None
        self._position += len(block)
        self._line += text.count("\n")
        return text.encode("utf-8")
