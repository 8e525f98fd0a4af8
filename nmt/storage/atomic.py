"""Files and directories that are complete or absent, and checksums that detect damage.

Both are written under a temporary name on the same file system, flushed to the disk and renamed,
which is a single step on POSIX systems. A killed process leaves no incomplete file or directory
behind except those with a temporary name.

Two checksums serve two purposes. SHA-256, in the format of sha256sum, protects checkpoints, which
are verified in full whenever they are read. CRC-32 protects sealed directories, the entries of a
cache of gigabytes: their manifest also holds sizes and times, so an unchanged file is not read.
"""

import hashlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from nmt.errors import UserError

# Values that are read from JSON are checked where they are used.
JsonObject: TypeAlias = dict[str, Any]

MANIFEST = "seal.json"
BLOCK_BYTES = 1 << 22


@contextmanager
def staging_dir(parent: Path, name: str | None = None) -> Iterator[Path]:
    """Yield a new directory below `parent` to write in, and remove it unless it was published.

    Args:
        parent: directory on the file system of the target; created if it does not exist
        name: name of the target where only one process writes, which removes the rest of an
            interrupted attempt; None gives the directory a unique name

    Raises:
        UserError: `parent` cannot be created or written to
    """
    staging = parent / _staging_name(name)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        message = f"cannot write here: {error.strerror}; choose a writable directory"
        raise UserError(message, str(parent)) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def publish_dir(staging: Path, target: Path) -> None:
    """Flush a staging directory to the disk and rename it to `target`.

    An existing directory of that name is removed immediately before.
    """
    # Without the flush, a power failure could leave the new name with empty files.
    for file in staging.iterdir():
        flush(file)
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    _flush_dir(target.parent)  # its content is the list of names


def replace_file(path: Path, text: str) -> None:
    """Write a small file such that a reader sees its previous content or the new one."""
    staging = path.parent / _staging_name()
    try:
        staging.write_text(text, encoding="utf-8")
        flush(staging)
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


def replace_link(path: Path, target: str) -> None:
    """Let the symbolic link `path` point to `target`, without a moment in which it is missing."""
    staging = path.parent / _staging_name(path.name)
    staging.unlink(missing_ok=True)
    # A link cannot be changed in place; renaming a new one over it is a single step.
    staging.symlink_to(target)
    os.replace(staging, path)


def flush(file: Path) -> None:
    """Write the buffered content of a file to the disk."""
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's content, as sha256sum prints it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
    """Return whether the files of a sealed directory are those of its manifest.

    A file with the recorded size and time is not read; the content of any other is compared by
    checksum.
    """
    try:
        files = json.loads((sealed / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all(_matches(sealed / name, **expected) for name, expected in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def read_metadata(sealed: Path) -> JsonObject:
    """Return the metadata that a directory was sealed with."""
    manifest = json.loads((sealed / MANIFEST).read_text(encoding="utf-8"))
    metadata: JsonObject = manifest["about"]
    return metadata


def _describe(file: Path) -> dict[str, int]:
    flush(file)  # before its time is recorded
    status = file.stat()
    return {"size": status.st_size, "time": status.st_mtime_ns, "checksum": _crc32(file)}


def _matches(file: Path, *, size: int, time: int, checksum: int) -> bool:
    status = file.stat()
    if status.st_size != size:
        return False
    # A copied directory has new times, and its content decides.
    return status.st_mtime_ns == time or _crc32(file) == checksum


def _crc32(file: Path) -> int:
    checksum = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _flush_dir(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _staging_name(name: str | None = None) -> str:
    return f".{name or secrets.token_hex(8)}.part"
