"""Files and directories that are complete or absent, and sealed ones that detect damage.

Both are written under a temporary name on the same file system, flushed to the disk and renamed,
which is a single step on POSIX systems. A killed process leaves no incomplete file or directory
behind except those with a temporary name.

CRC-32, which is faster than the SHA-256 of checkpoints, protects sealed directories, the entries of
a cache of gigabytes. It is verified whenever the files are read, because a bit that flips on a disk
changes no time of modification.

Errors of the operating system, such as a full disk, become user errors that name the file.
"""

import json
import os
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from nmt.errors import DISK_ERRORS, UserError, file_error

# Values that are read from JSON are checked where they are used.
JsonObject: TypeAlias = dict[str, Any]

MANIFEST = "seal.json"
BLOCK_BYTES = 1 << 22
MAX_LINK_BYTES = 100


# A staging directory in a cache that several runs share may belong to a process at work.
STALE_SECONDS = 24 * 3600


@contextmanager
def file_errors(location: Path, failed: str = "cannot be written") -> Iterator[None]:
    """Report errors of the operating system inside the block as user errors.

    Args:
        location: the file or directory that the errors name
        failed: the operation that failed, in words
    """
    try:
        yield
    except OSError as error:
        raise file_error(error, location, failed) from error


@contextmanager
def staging_dir(parent: Path, name: str | None = None) -> Iterator[Path]:
    """Yield a new directory below `parent` to write in, and remove it unless it was published.

    Args:
        parent: directory on the file system of the target; created if it does not exist
        name: name of the target where only one process writes, which removes the rest of an
            interrupted attempt; None gives the directory a unique name

    Raises:
        UserError: `parent` cannot be created or written to, in the body as well
    """
    staging = parent / _staging_name(name)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        message = f"cannot write here: {error.strerror}; choose a writable directory"
        raise UserError(message, str(parent)) from error
    try:
        with file_errors(parent / (name or "")):
            yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def publish_dir(staging: Path, target: Path) -> None:
    """Flush a staging directory to the disk and rename it to `target`.

    An existing directory of that name is removed immediately before.
    """
    # Without the flush, a power failure could leave the new name with empty files.
    for file in filter(Path.is_file, staging.rglob("*")):
        flush(file)
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    _flush_dir(target.parent)  # its content is the list of names


def replace_file(path: Path, text: str) -> None:
    """Write a small text file such that a reader sees its previous content or the new one."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a small file such that a reader sees its previous content or the new one."""
    with replacing(path) as staging:
        staging.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name to write to; the file replaces `path` if the body succeeds."""
    staging = path.parent / _staging_name()
    with file_errors(path):
        try:
            yield staging
            flush(staging)
            os.replace(staging, path)
        finally:
            with suppress(OSError):
                staging.unlink(missing_ok=True)


def replace_link(path: Path, target: str) -> None:
    """Let the symbolic link `path` point to `target`, without a moment in which it is missing.

    Where the system has no symbolic links, a file with one line, the target, takes its place.
    """
    staging = path.parent / _staging_name(path.name)
    with file_errors(path):
        staging.unlink(missing_ok=True)
        try:
            staging.symlink_to(target)
        except (OSError, NotImplementedError) as error:
            if getattr(error, "errno", None) in DISK_ERRORS:
                raise
            replace_file(path, f"{target}\n")
        else:
            # A link cannot be changed in place; renaming a new one over it is a single step.
            os.replace(staging, path)


def read_link(path: Path) -> str | None:
    """Return the target of a link that `replace_link` wrote; None if it is something else.

    The link is not followed, because it may lead anywhere after it was copied or edited.
    """
    try:
        if path.is_symlink():
            return os.readlink(path)
        if is_regular(path) and path.stat().st_size < MAX_LINK_BYTES:
            return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return None


def is_regular(path: Path) -> bool:
    """Return whether a path, after its links, is a regular file: no directory, pipe or device."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        return False


def exists(path: Path) -> bool:
    """Return whether a path exists, even as a broken link."""
    return path.is_symlink() or path.exists()


def move_aside(path: Path) -> Path:
    """Rename a file or directory to an unused name with `.old` and a number; return that name."""
    absolute, number = path.absolute(), 1  # the path "." has no name of its own
    while exists(candidate := absolute.with_name(f"{absolute.name}.old{number}")):
        number += 1
    with file_errors(path, "cannot be renamed"):
        path.rename(candidate)
    return candidate


def remove_leftovers(folder: Path, *, min_age_seconds: float = 0.0) -> None:
    """Remove files and directories with a temporary name, which killed processes left behind.

    Args:
        folder: the directory to search, without its subdirectories
        min_age_seconds: keep those that were written to more recently
    """
    if not folder.is_dir():
        return
    with file_errors(folder, "cannot be read"):
        entries = [entry for entry in folder.iterdir() if is_leftover(entry.name)]
    for entry in entries:
        if time.time() - _last_change(entry) < min_age_seconds:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()


def is_leftover(name: str) -> bool:
    """Return whether a name is a temporary one, which a killed process left behind."""
    # Versions before 1.0 wrote cache entries to `writing-*`.
    return (name.startswith(".") and name.endswith(".part")) or name.startswith("writing-")


def _last_change(entry: Path) -> float:
    """Return the time of the last change of an entry and of the files directly in it."""
    paths = [entry, *(entry.iterdir() if entry.is_dir() and not entry.is_symlink() else ())]
    return max((path.lstat().st_mtime for path in paths if exists(path)), default=0.0)


def flush(file: Path) -> None:
    """Write the buffered content of a file to the disk."""
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())


Fingerprint = tuple[str, int, int, int]
"""Path, size, and the times of the last change of content and of status, in nanoseconds."""


def fingerprint(file: Path) -> Fingerprint:
    """Return values that change whenever a file is written to, without reading it.

    The time of the last status change is included because the time of the last content change can
    be set back, as `cp -p`, rsync and tar do.
    """
    status = file.stat()
    return str(file.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def seal_dir(staging: Path, target: Path, metadata: JsonObject) -> None:
    """Publish a staging directory with a manifest of its files and `metadata`.

    An intact directory at `target` is kept; a damaged one is replaced.
    """
    files = {file.name: _describe(file) for file in staging.iterdir()}
    manifest = json.dumps({"about": metadata, "files": files})
    (staging / MANIFEST).write_text(manifest, encoding="utf-8")
    # Equal names mean equal content: the name of an entry is a hash of all that determines it.
    if is_intact(target):
        return
    try:
        publish_dir(staging, target)
    except OSError:
        # Another process may have sealed the same directory a moment ago.
        if not is_intact(target):
            raise


def is_intact(sealed: Path) -> bool:
    """Return whether the files of a sealed directory have the checksums of its manifest."""
    try:
        files = json.loads((sealed / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all(_matches(sealed / name, expected) for name, expected in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def read_metadata(sealed: Path) -> JsonObject:
    """Return the metadata that a directory was sealed with."""
    manifest = json.loads((sealed / MANIFEST).read_text(encoding="utf-8"))
    metadata: JsonObject = manifest["about"]
    return metadata


def _describe(file: Path) -> dict[str, int]:
    return {"size": file.stat().st_size, "checksum": _crc32(file)}


def _matches(file: Path, expected: dict[str, int]) -> bool:
    if not is_regular(file) or file.stat().st_size != expected["size"]:
        return False
    return _crc32(file) == expected["checksum"]


def _crc32(file: Path) -> int:
    checksum = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _flush_dir(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directories
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _staging_name(name: str | None = None) -> str:
    return f".{name or secrets.token_hex(8)}.part"
