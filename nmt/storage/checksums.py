"""SHA256SUMS: the checksums of the files of a directory, in the format of sha256sum."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

CHECKSUMS = "SHA256SUMS"


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's content, as sha256sum prints it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write the checksums of files of a directory into it, in the order of the names."""
    text = format_checksums({name: sha256(folder / name) for name in names})
    (folder / CHECKSUMS).write_text(text, encoding="utf-8")


def format_checksums(checksums: Mapping[str, str]) -> str:
    """Return the text that lists checksums by name."""
    return "".join(f"{checksum}  {name}\n" for name, checksum in checksums.items())


def parse_checksums(text: str) -> dict[str, str]:
    """Return the checksum of each listed name, in the order of the list.

    The text may be damaged: callers use the names that they know, or check each of them.
    """
    parts = (line.partition("  ") for line in text.splitlines())
    return {name: checksum for checksum, _, name in parts}
