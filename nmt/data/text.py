"""Lines of text: decoding, compression, blank lines, and limits of size."""

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader
from itertools import islice
from pathlib import Path

from nmt.data.compression import FORMATS, open_decompressed
from nmt.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 1 << 20
# Byte order marks of other encodings; that of UTF-32 begins with that of UTF-16.
OTHER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
# Characters without a glyph of their own whose general category does not say so: fillers,
# joiners and blanks that Unicode calls default-ignorable, and the empty Braille pattern.
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})


def is_blank(text: str) -> bool:
    """Return whether a line has no visible character, and is therefore treated as empty."""
    return all(map(_is_invisible, text))


def _is_invisible(character: str) -> bool:
    return (
        unicodedata.category(character) in INVISIBLE_CATEGORIES
        or character in INVISIBLE
        or "\ufe00" <= character <= "\ufe0f"  # variation selectors
        or "\U000e0000" <= character <= "\U000e0fff"
    )


def read_lines(source: Path | str | Iterable[bytes], name: str = "") -> Iterator[str]:
    """Read the lines of a UTF-8 text lazily, without their line ends.

    Only LF and CRLF end a line; U+2028, U+0085, form feed and a lone CR are part of it. A byte
    order mark at the start is removed. Compressed files are recognized by their first bytes.

    Args:
        source: a path, or a byte stream such as sys.stdin.buffer, which stays open
        name: name of a stream in error messages

    Raises:
        UserError: if the file cannot be read, is not UTF-8 or has a line of more than 1 MB; lines
            and bytes count from 1
    """
    if isinstance(source, (str, Path)):
        with open_text(Path(source)) as stream:
            yield from decode_lines(raw_lines(stream), str(source))
        return
    name = name or str(getattr(source, "name", "<stream>"))
    # Lines of a stream are yielded as they arrive, so a pipe is translated line by line.
    with _read_errors(name):
        if isinstance(source, BufferedReader):
            source = open_decompressed(source, name)
        yield from decode_lines(raw_lines(source), name)


@contextmanager
def open_text(path: Path) -> Iterator[BufferedReader]:
    """Open a plain or compressed file as a byte stream of its text.

    Raises:
        UserError: if the file cannot be opened or read, in the body as well
    """
    with _read_errors(str(path)), path.open("rb") as stream:
        plain = open_decompressed(stream, str(path))
        if plain is stream and path.suffix in FORMATS and stream.peek(1):
            form = FORMATS[path.suffix].name
            message = f"is corrupt (no {form} file); compress it again with {form}"
            raise UserError(message, str(path))
        yield plain


@contextmanager
def _read_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}; give a text file", name) from error
    except ValueError as error:
        if isinstance(error, UserError) or "null byte" not in str(error):
            raise
        raise UserError("cannot read: the name contains a NUL; give a text file", name) from error


def raw_lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines with their ends; one beyond the limit is cut, which bounds the memory."""
    readline = getattr(stream, "readline", None)
    if readline is None:
        return iter(stream)
    return iter(partial(readline, MAX_LINE_BYTES + 1), b"")


def decode_lines(lines: Iterable[bytes], name: str, first: int = 1) -> Iterator[str]:
    """Decode lines and remove their ends.

    Args:
        lines: lines with their ends
        name: name of the file in error messages
        first: number of the first line

    Raises:
        UserError: for a line that is not UTF-8 or too long
    """
    # bytes.splitlines or text mode would also split at a lone CR, and str.splitlines at U+2028.
    for number, line in enumerate(lines, start=first):
        if len(line) > MAX_LINE_BYTES:
            message = f"the line has more than {MAX_LINE_BYTES:,} bytes; split it into sentences"
            raise UserError(message, f"{name}:{number}")
        has_mark = number == 1 and line.startswith(BYTE_ORDER_MARK)
        body = line[len(BYTE_ORDER_MARK) :] if has_mark else line
        if has_mark and not body:
            return  # a file of nothing but the mark is empty
        if body.endswith(b"\n"):
            body = body[:-2] if body.endswith(b"\r\n") else body[:-1]
        elif number == 1 and b"\r" in body.strip(b"\r"):
            message = "lines end in CR alone; convert them, for example by: tr '\\r' '\\n'"
            raise UserError(message, f"{name}:1")
        if number == 1 or b"\0" in body:
            _check_encoding(body, number, name)
        try:
            yield body.decode("utf-8")
        except UnicodeDecodeError as error:
            column = error.start + 1 + (len(BYTE_ORDER_MARK) if has_mark else 0)
            message = (
                f"byte {column} is not UTF-8 (0x{body[error.start]:02x}); convert the file to UTF-8"
            )
            raise UserError(message, f"{name}:{number}") from None


def _check_encoding(body: bytes, number: int, name: str) -> None:
    """Raise UserError for a line of UTF-16 or UTF-32 text."""
    encodings = [one for mark, one in OTHER_MARKS.items() if number == 1 and body.startswith(mark)]
    if not encodings and len(body) >= 8 and number <= 10:
        # Every second byte of Latin text in UTF-16 is 0, whereas a single odd line may be text.
        shares = [body[side::2].count(0) / len(body[side::2]) for side in (0, 1)]
        if max(shares) >= 0.9 and min(shares) <= 0.1:
            encodings = ["UTF-16LE" if (shares[1] > shares[0]) == (number == 1) else "UTF-16BE"]
    if encodings:
        convert = f"iconv -f {encodings[0]} -t UTF-8"
        message = f"is {encodings[0]} text; convert the file to UTF-8, for example by: {convert}"
        raise UserError(message, f"{name}:{number}")


def read_line_blocks(file: Path, size: int, limit: int | None) -> Iterator[list[str]]:
    """Read up to `size` lines at a time, and at most `limit` in total."""
    with open_text(file) as stream:
        lines, first = islice(raw_lines(stream), limit), 1
        while block := list(islice(lines, size)):
            yield _decode_block(block, str(file), first)
            first += len(block)


def _decode_block(lines: list[bytes], name: str, first: int) -> list[str]:
    """Decode lines like `decode_lines`, but several times as fast in the common case."""
    block = b"".join(lines)
    # The first line may have a byte order mark, and the last one may lack its line end.
    is_plain = first > 1 and block.endswith(b"\n") and b"\r\n" not in block and b"\0" not in block
    if is_plain and len(max(lines, key=len)) <= MAX_LINE_BYTES:
        with suppress(UnicodeDecodeError):
            return block.decode("utf-8").removesuffix("\n").split("\n")
    return list(decode_lines(lines, name, first))


def list_texts(texts: object) -> list[str]:
    """Return a text or an iterable of texts as a list.

    Raises:
        UserError: for anything else, such as bytes or a path, and for text that is not Unicode
    """
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Iterable):
        raise UserError(f"expected a text or a list of texts, got {type(texts).__name__}")
    found = list(texts)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise UserError(f"text {number} must be a str, got {type(text).__name__}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            message = f"text {number} has half of a surrogate pair, which is no character"
            raise UserError(message) from None
    return found
