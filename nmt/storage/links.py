"""Links in a run of unknown origin, which may lead to any file of the machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from nmt.errors import UserError
from nmt.files import resolve
from nmt.storage.run_dir import RunDir


def check_links(run: RunDir) -> None:
    """Check that the files which loading reads are inside the run directory.

    The links `best` and `last` lead from one checkpoint to another one and are fine.

    Raises:
        UserError: a link leads out of the directory
    """
    inside = resolve(run.path)
    for link in _links(run):
        if not resolve(link).is_relative_to(inside):
            raise UserError(
                f"is a link that leads out of the run, to {os.readlink(link)}; if you trust the "
                "run, add --trust-plugins (Python: trust_plugins=True)",
                str(link),
            )


def _links(run: RunDir) -> Iterator[Path]:
    for path in (run.config, run.vocabulary, run.checkpoints, run.plugins):
        if path.is_symlink():
            yield path
        for parent, folders, files in os.walk(path):
            entries = (Path(parent, name) for name in (*folders, *files))
            yield from (entry for entry in entries if entry.is_symlink())
