"""Fuzzing of the reader of bundles: the archive, and each of its files with checksums that fit."""

import tempfile
import zipfile
from pathlib import Path

from tests.campaigns import fuzzing


def _bundle(run: Path) -> Path:
    """Write a bundle of a run in int8, whose reader has the most to check; return it."""
    from nmt.export.bundle import bundle_files
    from nmt.inference.saved_model import load_saved_model
    from nmt.storage.bundle import write_bundle

    path = Path(tempfile.mkdtemp()) / "seed.nmt"
    write_bundle(path, bundle_files(load_saved_model(run), "int8", "card"))
    return path


def _files(path: Path) -> dict[str, bytes]:
    """Return the files of a bundle but its checksums, which its writer adds."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "SHA256SUMS"}


def seeds(run: Path) -> list[bytes]:
    """Return an archive and its files; the first byte selects which of them an input replaces."""
    path = _bundle(run)
    files = _files(path)
    contents = enumerate([path.read_bytes(), *files.values()])
    return [bytes([number]) + content for number, content in contents]


def load(run: Path) -> fuzzing.Check:
    """Return the function that loads a bundle of which an input is a part."""
    from nmt.errors import UserError
    from nmt.inference.saved_model import load_saved_model
    from nmt.storage.bundle import write_bundle

    path = _bundle(run)
    files = _files(path)
    names = [None, *files]

    def check(data: bytes) -> None:
        name = names[data[0] % len(names)] if data else None
        if name is None:
            path.write_bytes(data[1:])
        else:
            write_bundle(path, files | {name: data[1:]})
        try:
            load_saved_model(path)
        except UserError as error:
            if not all(error.lines):
                raise

    return check


if __name__ == "__main__":
    fuzzing.main_with_run(load, seeds)
