"""Links in a run of unknown origin, which may lead to any file of the machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from nmt.errors import UserError
from nmt.files import resolve
from nmt.storage.run_dir import RunDir


def check_links(run: RunDir) -> None:
    """Check that the files which loading reads are inside the run directory.

    The links `best` and `last` are never followed: their text names a checkpoint, or is ignored.

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
    never_followed = {run.checkpoint("best"), run.checkpoint("last")}
    for path in (run.config, run.vocabulary, run.shortlist, run.checkpoints, run.plugins):
        if path.is_symlink():
            yield path
        for parent, folders, files in os.walk(path):
            entries = (Path(parent, name) for name in (*folders, *files))
            yield from (e for e in entries if e.is_symlink() and e not in never_followed)
