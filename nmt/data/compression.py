"""Compressed text: gzip, bzip2, xz and zstd, recognized by its first bytes and bounded in size."""

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

from nmt.errors import UserError

# The longest signature below.
MAGIC_BYTES = 10
# A file that expands beyond both limits is refused: text of such a ratio repeats a few lines.
MAX_RATIO = 200
MIN_BOMB_BYTES = 1 << 28
BUFFER_BYTES = 1 << 18


Stream: TypeAlias = io.BufferedIOBase | io.RawIOBase
"""A stream of bytes."""


class Format(NamedTuple):
    """A compression format.

    Attributes:
        name: name of its program, for error messages
        magic: possible first bytes of a file
        reader, writer: functions that wrap a byte stream
    """

    name: str
    magic: tuple[bytes, ...]
    reader: Callable[[Any], Any]
    writer: Callable[[Any], Any]


class _ZstdReader(io.RawIOBase):
    """The plain text of a zstd file, read by the package zstandard.

    Its own reader takes a truncated file for a complete one.
    """

    # A block of 4 bytes may expand to 128 KiB, so this bounds the memory to 64 MiB.
    CHUNK_BYTES = 2048

    def __init__(self, stream: Stream, zstandard: Any) -> None:
        self._stream, self._zstandard = stream, zstandard
        self._frame, self._rest = zstandard.ZstdDecompressor().decompressobj(), b""

    def read(self, size: int | None = -1) -> bytes:
        while not self._rest:
            chunk = self._frame.unused_data if self._frame.eof else b""
            chunk = chunk or self._stream.read(self.CHUNK_BYTES)
            if not chunk:
                if not self._frame.eof:
                    raise EOFError("the file is truncated")
                return b""
            if self._frame.eof:
                self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            self._rest = self._frame.decompress(chunk)
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


def _zstd(stream: Stream, mode: str) -> Any:
    with suppress(ImportError):  # Python 3.14
        return import_module("compression.zstd").ZstdFile(stream, mode)
    try:
        zstandard = import_module("zstandard")
    except ImportError:
        message = "zstd requires the package zstandard; run pip install zstandard, or use gzip"
        raise UserError(message) from None
    if mode == "rb":
        return _ZstdReader(stream, zstandard)
    return zstandard.ZstdCompressor(write_checksum=True).stream_writer(stream, closefd=False)


FORMATS = {
    ".gz": Format(
        "gzip",
        (b"\x1f\x8b",),
        lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
        # Without name and time, equal texts give equal files.
        lambda stream: gzip.GzipFile("", "wb", fileobj=stream, mtime=0),
    ),
    ".bz2": Format(
        "bzip2",
        # Text may begin with "BZh9"; a block or the end of the file follows in an archive.
        tuple(
            b"BZh%d" % level + block
            for level in range(1, 10)
            for block in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
        ),
        lambda stream: bz2.BZ2File(stream, "rb"),
        lambda stream: bz2.BZ2File(stream, "wb"),
    ),
    ".xz": Format(
        "xz",
        (b"\xfd7zXZ\0",),
        lambda stream: lzma.LZMAFile(cast(BinaryIO, stream), "rb"),  # noqa: SIM115
        lambda stream: lzma.LZMAFile(cast(BinaryIO, stream), "wb"),  # noqa: SIM115
    ),
    ".zst": Format(
        "zstd", (b"\x28\xb5\x2f\xfd",), partial(_zstd, mode="rb"), partial(_zstd, mode="wb")
    ),
}

# Archives and documents, by their first bytes, with the remedy.
CONTAINERS = {
    b"PK\x03\x04": "is a ZIP archive or an Office document; extract its text first",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive; extract its text first",
    b"%PDF-": "is a PDF document; extract its text first",
    b"PAR1": "is a Parquet file; convert it to text first",
}


def find_format(start: bytes) -> Format | None:
    """Return the compression format of a file that begins with these bytes; None if plain."""
    for form in FORMATS.values():
        if start.startswith(form.magic):
            return form
    return None


def open_decompressed(stream: io.BufferedReader, name: str) -> io.BufferedReader:
    """Return a stream of the plain text of a stream, which may be compressed.

    Args:
        stream: buffered stream with `peek`
        name: name of the file in error messages

    Raises:
        UserError: for archives, and while reading for corrupt files and decompression bombs
    """
    start = stream.peek(MAGIC_BYTES)[:MAGIC_BYTES]
    for magic, remedy in CONTAINERS.items():
        if start.startswith(magic):
            raise UserError(remedy, name)
    form = find_format(start)
    if form is None:
        return stream
    # Python's own streams split lines in Python code; a buffer around them splits them in C.
    return io.BufferedReader(_Decompressed(stream, form, name), BUFFER_BYTES)


class _Decompressed(io.RawIOBase):
    """A decompressed stream that refuses corrupt files and decompression bombs.

    Args:
        stream: compressed stream
        form: its format
        name: name of the file in error messages
    """

    def __init__(self, stream: Stream, form: Format, name: str) -> None:
        self._compressed, self._form, self._name = stream, form, name
        self._size = 0
        try:
            self._plain = form.reader(stream)
        except UserError as error:  # a missing package
            raise UserError(error.message, name) from None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        try:
            block = self._plain.read(len(view))
        except OSError as error:
            if error.errno is not None:  # of the disk, not of the format
                raise
            raise self._corrupt(error) from error
        except Exception as error:
            # Each library raises errors of its own: EOFError, zlib.error, LZMAError, ZstdError.
            if not isinstance(error, (EOFError, zlib.error, lzma.LZMAError)) and (
                type(error).__module__.partition(".")[0] != "zstandard"
            ):
                raise
            raise self._corrupt(error) from error
        view[: len(block)] = block
        self._size += len(block)
        if self._size > MIN_BOMB_BYTES:
            self._check_ratio()
        return len(block)

    def _corrupt(self, error: Exception) -> UserError:
        name = self._form.name
        return UserError(f"is corrupt ({error}); compress it again with {name}", self._name)

    def _check_ratio(self) -> None:
        compressed = 0
        with suppress(OSError, ValueError):
            compressed = os.fstat(self._compressed.fileno()).st_size
        # The size of a pipe is 0: its text is read without limit, since it is never stored.
        if compressed and self._size > MAX_RATIO * compressed:
            message = (
                f"expands to more than {MAX_RATIO} times its size; decompress it with "
                f"{self._form.name} first if this is intended"
            )
            raise UserError(message, self._name)
