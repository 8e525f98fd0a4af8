"""The run directory: begun, continued, moved aside."""

import difflib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from nmt.config.schema import Experiment
from nmt.errors import UserError
from nmt.model.saved import Run


def open_run(folder: Path, experiment: Experiment, *, restart: bool) -> Run:
    """The run of an experiment, new or to be continued.

    Args:
        folder: the run directory
        experiment: what is to be run
        restart: move an old run aside and begin anew

    Raises:
        UserError: when the folder holds a run of another experiment, or something else
    """
    run = Run(folder)
    if restart and folder.exists():
        folder.rename(_free_name(folder))
    text = as_yaml(experiment)
    if run.config.is_file():
        _refuse_difference(run, text)
        return run
    if folder.exists() and not folder.is_dir():
        raise UserError("is a file; name a folder for the run", str(folder))
    if folder.exists() and any(folder.iterdir()):
        raise UserError("is not empty and holds no run; name another --run", str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot be made: {error.strerror}; name another --run"
        raise UserError(message, str(folder)) from error
    aside = folder / ".config.part"
    aside.write_text(text, encoding="utf-8")
    aside.rename(run.config)
    return run


@contextmanager
def removed_if_refused(run: Run) -> Iterator[None]:
    """A new run leaves no trace when a mistake of the user's ends its preparation.

    Otherwise the config put right would be a changed one.
    """
    try:
        yield
    except UserError:
        shutil.rmtree(run.folder)
        raise


def as_yaml(experiment: Experiment) -> str:
    """The resolved experiment, every option written out."""
    text: str = yaml.safe_dump(experiment.as_tree(), sort_keys=False, allow_unicode=True, width=100)
    return text


def _refuse_difference(run: Run, text: str) -> None:
    old = run.config.read_text(encoding="utf-8")
    if old == text:
        return
    lines = difflib.unified_diff(old.splitlines(), text.splitlines(), n=0, lineterm="")
    changes = [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
    raise UserError(
        f"the config of this run has changed ({'; '.join(changes)}); "
        "undo the change, use --restart to begin anew, or name another --run",
        str(run.config),
    )


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old{number}")).exists():
        number += 1
    return aside
