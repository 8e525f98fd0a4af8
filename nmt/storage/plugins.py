"""Copies of the plugins in a run, so that it holds everything that its model needs.

The copies have the names of the plugins and are listed with their checksums in the format of
sha256sum, in the order of `plugins:`.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from nmt.errors import UserError
from nmt.files import (
    MAX_CHECKSUMS_BYTES,
    MAX_PLUGIN_BYTES,
    exists,
    is_dir,
    read_regular,
    read_text,
)
from nmt.storage.atomic import publish_dir, staging_dir
from nmt.storage.checksums import CHECKSUMS, parse_checksums, write_checksums


def save_plugins(folder: Path, plugins: Sequence[Path]) -> None:
    """Copy the plugins of an experiment into a directory of the run, unless it exists.

    Raises:
        UserError: a plugin cannot be read, or the copy cannot be written
    """
    if not plugins or is_dir(folder):
        return
    with staging_dir(folder.parent, folder.name) as staging:
        for plugin in plugins:
            (staging / plugin.name).write_bytes(read_regular(plugin, max_bytes=MAX_PLUGIN_BYTES))
        write_checksums(staging, [plugin.name for plugin in plugins])
        publish_dir(staging, folder)


def list_plugins(folder: Path) -> list[Path]:
    """Return the copies of plugins in a directory, for a message; they may be damaged."""
    return sorted(folder.glob("*.py")) if is_dir(folder) else []


def verified_plugins(folder: Path) -> list[Path] | None:
    """Return the copies of the plugins in their order; None if the run has no copies.

    Raises:
        UserError: a copy has changed, or is missing
    """
    sums = folder / CHECKSUMS
    if not exists(sums):
        return None
    plugins = []
    listed = parse_checksums(read_text(sums, max_bytes=MAX_CHECKSUMS_BYTES))
    for name, expected in listed.items():
        if Path(name).name != name:
            raise UserError(f"lists '{name}', which is not the name of a plugin", str(sums))
        content = read_regular(folder / name, max_bytes=MAX_PLUGIN_BYTES)
        if hashlib.sha256(content).hexdigest() != expected:
            message = f"does not match its checksum in {sums}; it was changed after the training"
            raise UserError(f"{message}; restore it from a copy of the run", str(folder / name))
        plugins.append(folder / name)
    return plugins
