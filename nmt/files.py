"""Files that a user names, or that a run of unknown origin contains.

A name may lead to a pipe, whose opening blocks, to a device without end, or to a directory that the
user may not enter. These functions open regular files of a bounded size only, and report every
failure as a `UserError` with the name.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from nmt.errors import UserError, file_error, printable

MIB = 1 << 20
MAX_PATH = 300  # characters of a path in an error message
MAX_CONFIG_BYTES = MIB
MAX_PLUGIN_BYTES = 4 * MIB
MAX_CHECKSUMS_BYTES = MIB
MAX_VOCABULARY_BYTES = 256 * MIB
MAX_SHORTLIST_BYTES = 256 * MIB

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# Errors that mean that a name does not exist; all others are reported.
MISSING = (errno.ENOENT, errno.ENOTDIR)


def open_regular(path: Path, *, max_bytes: int | None = None) -> BinaryIO:
    """Open a regular file for reading bytes.

    Args:
        path: name of the file
        max_bytes: largest acceptable size; None for any

    Raises:
        UserError: if the file does not exist, cannot be read, is larger, or is not a regular file
    """
    # Before opening, because opening a device may already have an effect.
    mode = _mode(path)
    if mode is None:
        raise UserError("not found", printable(str(path), MAX_PATH))
    _check_kind(path, mode)
    try:
        # Without O_NONBLOCK, a pipe that replaces the file at this moment would block.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise name_error(path, error) from None
    stream = os.fdopen(handle, "rb")
    try:
        status = os.fstat(handle)
        _check_kind(path, status.st_mode)
        if max_bytes is not None and status.st_size > max_bytes:
            raise _too_large(path, max_bytes)
    except BaseException:
        stream.close()
        raise
    return stream


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        UserError: see `open_regular`
    """
    try:
        with open_regular(path, max_bytes=max_bytes) as stream:
            content = stream.read(max_bytes + 1)  # files of /proc have a size of 0
    except OSError as error:
        raise name_error(path, error) from None
    if len(content) > max_bytes:
        raise _too_large(path, max_bytes)
    return content


def read_text(path: Path, *, max_bytes: int) -> str:
    """Return the content of a regular UTF-8 file.

    Raises:
        UserError: see `open_regular`; also if the file is not UTF-8, with the line
    """
    content = read_regular(path, max_bytes=max_bytes)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError("is not UTF-8; save it as UTF-8 text", f"{path}:{line}") from None


def exists(path: Path) -> bool:
    """Return whether a name exists, following links.

    Raises:
        UserError: if this cannot be found out: the name is too long or not a name, links form a
            loop, or a directory may not be entered
    """
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Return whether a name leads to a regular file; raises as `exists` does."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_dir(path: Path) -> bool:
    """Return whether a name leads to a directory; raises as `exists` does."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def resolve(path: Path) -> Path:
    """Return the absolute path without links.

    Raises:
        UserError: if links form a loop, or the name is not a name
    """
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop, in Python 3.11
        raise name_error(path, error) from None


def name_error(path: Path, error: Exception) -> UserError:
    """Return the error about a name that the operating system or Python rejects."""
    name = printable(str(path), MAX_PATH)
    if isinstance(error, FileNotFoundError):
        return UserError("not found", name)
    if isinstance(error, RuntimeError):
        error = OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if isinstance(error, OSError):
        return file_error(error, name, "cannot be read")
    return UserError(f"cannot be read: {error}; give a file", name)


def _mode(path: Path) -> int | None:
    try:
        return os.stat(path).st_mode
    except OSError as error:
        if error.errno in MISSING:
            return None
        raise name_error(path, error) from None
    except ValueError as error:  # a null character, or one that no file system encodes
        raise name_error(path, error) from None


def _check_kind(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "a special file")
        raise UserError(f"cannot be read: is {kind}; give a file", str(path))


def _too_large(path: Path, max_bytes: int) -> UserError:
    size = f"{max_bytes / MIB:g} MiB"
    return UserError(f"is larger than {size}, the limit for a file of this kind", str(path))
