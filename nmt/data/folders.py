"""Folders of files that are whole or absent."""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nmt.errors import UserError

SEAL = "seal.json"


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """A fresh folder inside `folder` to write in; what is left of it at the end is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="writing-", dir=folder))
    except OSError as error:
        message = f"cannot write here: {error.strerror}; give a folder that you may write to"
        raise UserError(message, str(folder)) from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def seal(scratch: Path, folder: Path, about: dict[str, Any]) -> None:
    """Turn what was written in `scratch` into `folder`, with checksums and a word about it.

    A whole folder of that name stays; a damaged one is replaced. The files are on the disk before
    the folder has its name.
    """
    files = {file.name: _sealed(file) for file in scratch.iterdir()}
    (scratch / SEAL).write_text(json.dumps({"about": about, "files": files}), encoding="utf-8")
    if is_whole(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        scratch.rename(folder)
    except OSError:
        # Another process may have sealed the same folder a moment ago.
        if not is_whole(folder):
            raise


def is_whole(folder: Path) -> bool:
    """Whether the folder stands as it was sealed.

    A file that has not been written to since is not read; any other must be the same byte for byte.
    """
    try:
        files = json.loads((folder / SEAL).read_text(encoding="utf-8"))["files"]
        return all(_is_as_sealed(folder / name, **sealed) for name, sealed in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def about(folder: Path) -> dict[str, Any]:
    """What was said about the folder when it was sealed."""
    sealed: dict[str, dict[str, Any]] = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    return sealed["about"]


Stamp = tuple[str, int, int, int]
"""Path, size, and the times of the last change of content and of status, in nanoseconds."""


def stamp(file: Path) -> Stamp:
    """What tells that a file has not been touched.

    The second time is there since the first can be set back, as `cp -p`, rsync and tar do.
    """
    status = file.stat()
    return str(file.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader meets the old text or the new one."""
    handle, scratch = tempfile.mkstemp(prefix="writing-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(scratch, path)


def _sealed(path: Path) -> dict[str, int]:
    """What is to be known of a file, once it is on the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    status = path.stat()
    return {"size": status.st_size, "time": status.st_mtime_ns, "checksum": _checksum(path)}


def _is_as_sealed(path: Path, *, size: int, time: int, checksum: int) -> bool:
    status = path.stat()
    if status.st_size != size:
        return False
    return status.st_mtime_ns == time or _checksum(path) == checksum


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum
