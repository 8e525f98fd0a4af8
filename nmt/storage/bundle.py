"""Bundles: one file that contains everything that translation needs of a run, and nothing more.

A bundle is a zip archive of uncompressed files, so that weights can be mapped into memory:

    bundle.json         format, version of nmt, number of updates, precision
    config.yaml         the experiment, without folders
    vocabulary/         the vocabularies, under the names that they have in a run
    model.safetensors   the weights
    shortlist.safetensors
                        target tokens that may translate each source token; may be absent
    README.md           model card
    SHA256SUMS          checksums of the other files, in the format of sha256sum

A folder with these files is read like a bundle, such as a clone of a repository of Hugging Face.
In a folder, config.yaml, the vocabularies and the weights suffice.

A bundle may come from an unknown source. Its members are read into memory under a limit for each
and are never extracted. No other names are accepted, so it holds no code and no links.
"""

import hashlib
import io
import json
import os
import stat
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from nmt.errors import UserError
from nmt.files import (
    MAX_CHECKSUMS_BYTES,
    MAX_CONFIG_BYTES,
    MAX_SHORTLIST_BYTES,
    MAX_VOCABULARY_BYTES,
    MIB,
    is_dir,
    is_file,
    name_error,
    open_regular,
    read_regular,
    resolve,
)
from nmt.storage.atomic import publish_dir, replacing, staging_dir
from nmt.storage.checksums import CHECKSUMS, format_checksums, parse_checksums

SUFFIX = ".nmt"
INFO, CONFIG, WEIGHTS, CARD = "bundle.json", "config.yaml", "model.safetensors", "README.md"
SHORTLIST = "shortlist.safetensors"
FORMAT = 1
StoredPrecision = Literal["fp32", "bf16", "int8"]
PRECISIONS = get_args(StoredPrecision)
REQUIRED = (INFO, CONFIG, WEIGHTS, CARD, CHECKSUMS)
VOCABULARIES = tuple(
    f"vocabulary/{side}{suffix}"
    for side in ("joint", "source", "target")
    for suffix in (".model", ".json")
)
MAX_BYTES = {
    INFO: MIB,
    CONFIG: MAX_CONFIG_BYTES,
    CARD: MIB,
    CHECKSUMS: MAX_CHECKSUMS_BYTES,
    SHORTLIST: MAX_SHORTLIST_BYTES,
}
MAX_WEIGHTS_BYTES = (1 << 32) - (1 << 28)  # archives of 4 GiB and more need another format
MAX_MEMBERS = len(REQUIRED) + 4
ALIGNMENT = 64  # of the weights in the file, for vector instructions on mapped memory
LOCAL_HEADER_BYTES = 30
END_RECORD = struct.Struct("<4s4H2LH")  # end of central directory, the last bytes of the file
ZIP64_LOCATOR = b"PK\x06\x07"
ZIP64_LOCATOR_BYTES = 20
MAX_DIRECTORY_BYTES = 1 << 16
DAMAGED = "is damaged or incomplete; copy it again"


@dataclass(frozen=True)
class Bundle:
    """The files of a bundle in memory.

    Attributes:
        path: the bundle
        files: content of each file
        precision: precision of the weights
        step: number of updates of the checkpoint; None if unknown
        blocks: widths of the column blocks of each matrix in 8-bit integers, by name
        is_verified: whether the files have the checksums that are part of the bundle
    """

    path: Path
    files: Mapping[str, bytes]
    precision: StoredPrecision
    step: int | None
    blocks: Mapping[str, list[int]]
    is_verified: bool

    @property
    def vocabularies(self) -> list[str]:
        """Return the names of the vocabularies."""
        return [name for name in self.files if name in VOCABULARIES]


def is_bundle(path: Path) -> bool:
    """Return whether a path is a file, or a folder with weights and without checkpoints."""
    return is_file(path) or (is_file(path / WEIGHTS) and not is_dir(path / "checkpoints"))


def is_member(name: str) -> bool:
    """Return whether a bundle may contain a file of this name."""
    return name in (*REQUIRED, SHORTLIST) or name in VOCABULARIES


def read_bundle(path: Path, *, inside: Path | None = None) -> Bundle:
    """Read a bundle, or a folder with the files of one, and verify its checksums.

    Args:
        path: the file or folder
        inside: directory out of which no link of a folder may lead (default: the folder)

    Raises:
        UserError: it is not a bundle, is damaged, too large, or contains other files
    """
    if is_dir(path):
        files = _read_folder(path, resolve(inside or path))
        # Authors edit the card of a folder.
        is_verified = _verify({name: data for name, data in files.items() if name != CARD}, path)
    else:
        with open_regular(path) as stream:
            files = _read_archive(stream, path)
        is_verified = _verify(files, path)
    info = _parse_info(files[INFO], str(path)) if INFO in files else ("fp32", None, {})
    return Bundle(path, files, *info, is_verified)


def write_bundle(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a bundle; equal files give equal bytes.

    Args:
        path: the file, which is replaced once the bundle is complete
        files: content of all files but SHA256SUMS

    Raises:
        UserError: it cannot be written, or is too large
    """
    size = sum(map(len, files.values()))
    if size > MAX_WEIGHTS_BYTES:
        raise UserError("would exceed 4 GiB; use --precision bf16 or int8", str(path))
    with replacing(path) as staging, zipfile.ZipFile(staging, "w") as archive:
        for name, content in _with_checksums(files).items():
            member = zipfile.ZipInfo(name)  # of 1980, the earliest time of the format
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            assert archive.fp is not None
            header = archive.fp.tell() + LOCAL_HEADER_BYTES + len(name)
            # An extra field is at least 4 bytes: its kind, and the number of bytes that follow.
            padding = 4 + (-header - 4) % ALIGNMENT
            member.extra = struct.pack("<HH", 0xD935, padding - 4) + bytes(padding - 4)
            archive.writestr(member, content)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a bundle into a new folder.

    Raises:
        UserError: the folder exists, or cannot be written
    """
    check_new_folder(path)
    with staging_dir(path.parent, path.name) as staging:
        (staging / "vocabulary").mkdir()
        for name, content in _with_checksums(files).items():
            (staging / name).write_bytes(content)
        publish_dir(staging, path)


def check_new_folder(path: Path) -> None:
    """Raise UserError for a path that exists, unless it is an empty folder."""
    if is_file(path) or (is_dir(path) and any(path.iterdir())):
        raise UserError("already exists; remove it, or choose another folder", str(path))


def _with_checksums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return {**files, CHECKSUMS: format_checksums(checksums).encode()}


def _read_folder(path: Path, inside: Path) -> dict[str, bytes]:
    files = {}
    for name in (*REQUIRED, *VOCABULARIES, SHORTLIST):
        file = path / name
        if is_file(file):
            if not resolve(file).is_relative_to(inside):
                raise UserError("is a link that leads out of the folder; copy the file", str(file))
            files[name] = read_regular(file, max_bytes=_limit(name))
    for name in (CONFIG, WEIGHTS):
        if name not in files:
            raise UserError(f"is neither a run nor a bundle: it has no {name}", str(path))
    return files


def _read_archive(stream: BinaryIO, path: Path) -> dict[str, bytes]:
    try:
        _check_end(stream)
        with zipfile.ZipFile(stream) as archive:
            _check_members(archive.infolist(), os.fstat(stream.fileno()).st_size)
            return {member.filename: archive.read(member) for member in archive.infolist()}
    except _NotABundleError as error:
        raise UserError(str(error), str(path)) from None
    except OSError as error:
        raise name_error(path, error) from None
    # The module zipfile passes on all exceptions of a damaged archive.
    except (zipfile.BadZipFile, ValueError, RuntimeError, LookupError, struct.error, EOFError):
        raise UserError(DAMAGED, str(path)) from None


class _NotABundleError(Exception):
    """A file that is not a bundle, with the reason."""


def _check_end(stream: BinaryIO) -> None:
    """Check the end of an archive, whose table of contents zipfile would read without a limit."""
    size = stream.seek(0, io.SEEK_END)
    tail = END_RECORD.size + ZIP64_LOCATOR_BYTES
    stream.seek(max(0, size - tail))
    end = stream.read(tail)
    stream.seek(0)
    if not stream.read(4).startswith(b"PK\x03\x04"):
        raise _NotABundleError("is not a bundle; give a run, or a file that nmt-export wrote")
    if len(end) < tail or not end[-END_RECORD.size :].startswith(b"PK\x05\x06"):
        raise _NotABundleError(DAMAGED)
    _, _, _, _, members, directory_bytes, _, _ = END_RECORD.unpack(end[-END_RECORD.size :])
    if members > MAX_MEMBERS or directory_bytes > MAX_DIRECTORY_BYTES:
        raise _NotABundleError("is not a bundle: it has too many members")
    if end.startswith(ZIP64_LOCATOR):
        raise _NotABundleError("is not a bundle: it is larger than 4 GiB")


def _check_members(members: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    """Check the table of contents, before a member is read."""
    names = [member.filename for member in members]
    known = [name for name in names if is_member(name)]
    if missing := [name for name in REQUIRED if name not in names]:
        raise _NotABundleError(f"is not a bundle: it has no {missing[0]}")
    if len({*known}) < len(names):
        raise _NotABundleError("is not a bundle: it contains other or repeated files")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _NotABundleError(f"{member.filename} is not a regular file")
        is_stored = member.compress_type == zipfile.ZIP_STORED
        if not is_stored or member.file_size != member.compress_size or member.flag_bits & 1:
            raise _NotABundleError(f"{member.filename} is compressed or encrypted")
        if member.file_size > min(_limit(member.filename), archive_bytes):
            raise _NotABundleError(f"{member.filename} is too large")


def _limit(name: str) -> int:
    return MAX_BYTES.get(name, MAX_WEIGHTS_BYTES if name == WEIGHTS else MAX_VOCABULARY_BYTES)


def _verify(files: Mapping[str, bytes], path: Path) -> bool:
    """Compare files with their checksums; return False if they have none."""
    if CHECKSUMS not in files:
        return False
    expected = parse_checksums(files[CHECKSUMS].decode("utf-8", errors="replace"))
    for name, content in files.items():
        if name != CHECKSUMS and hashlib.sha256(content).hexdigest() != expected.get(name):
            raise UserError(f"{name} does not match its checksum; copy it again", str(path))
    if missing := sorted(expected.keys() - files.keys() - {CARD}):
        raise UserError(f"has no {missing[0][:40]}, which {CHECKSUMS} lists", str(path))
    return True


def _parse_info(
    content: bytes, location: str
) -> tuple[StoredPrecision, int | None, dict[str, list[int]]]:
    """Return the precision of the weights, the update, and the column blocks of matrices."""
    try:
        info = json.loads(content)
        version, precision, blocks = info["format"], info["precision"], info.get("blocks", {})
        step = info.get("step")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{INFO} is not that of a bundle", location) from None
    if version != FORMAT:
        message = f"has the format {str(version)[:20]}, and this version reads {FORMAT}"
        raise UserError(f"{message}; install a newer version of nmt", location)
    is_valid = isinstance(blocks, dict) and all(
        isinstance(widths, list) and all(type(width) is int and width > 0 for width in widths)
        for widths in blocks.values()
    )
    is_valid = is_valid and (step is None or type(step) is int)
    if precision not in PRECISIONS or not is_valid:
        raise UserError(f"{INFO} is not that of a bundle", location)
    return precision, step, blocks
