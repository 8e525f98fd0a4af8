"""The run directory: begun, continued, moved aside."""

import difflib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from nmt.config.schema import Experiment
from nmt.errors import UserError
from nmt.model.saved import Run


@contextmanager
def opened_run(folder: Path, experiment: Experiment, *, restart: bool) -> Iterator[Run]:
    """The run of an experiment, new or to be continued, while it is prepared.

    A mistake of the user's that ends the preparation leaves all as it was: a new run is removed,
    since the config put right would be a changed one, and a run moved aside is put back.

    Args:
        folder: the run directory
        experiment: what is to be run
        restart: move an old run aside and begin anew

    Raises:
        UserError: when the folder holds a run of another experiment, or something else
    """
    run, text = Run(folder), as_yaml(experiment)
    with ExitStack() as stack:
        if restart and run.config.is_file():
            stack.enter_context(_moved_aside(folder))
        if run.config.is_file():
            _refuse_difference(run, text)
        else:
            _begin(run, text)
            stack.enter_context(_removed_if_refused(folder))
        yield run


def _begin(run: Run, text: str) -> None:
    folder = run.folder
    if folder.exists() and not folder.is_dir():
        raise UserError("is a file; name a folder for the run", str(folder))
    if folder.exists() and any(folder.iterdir()):
        raise UserError("is not empty and holds no run; name another --run", str(folder))
    aside = folder / ".config.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"cannot be made: {error.strerror}; name another --run"
        raise UserError(message, str(folder)) from error
    aside.rename(run.config)


@contextmanager
def _moved_aside(folder: Path) -> Iterator[None]:
    aside = _free_name(folder)
    try:
        folder.rename(aside)
    except OSError as error:
        message = f"cannot be moved aside: {error.strerror}; name another --run"
        raise UserError(message, str(folder)) from error
    try:
        yield
    except UserError:
        aside.rename(folder)
        raise


@contextmanager
def _removed_if_refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        shutil.rmtree(folder)
        raise


def as_yaml(experiment: Experiment) -> str:
    """The resolved experiment, every option written out."""
    text: str = yaml.safe_dump(experiment.to_dict(), sort_keys=False, allow_unicode=True, width=100)
    return text


def _refuse_difference(run: Run, text: str) -> None:
    old = run.config.read_text(encoding="utf-8")
    if old == text:
        return
    # A run written before an option existed has the option's default.
    old = as_yaml(run.experiment())
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
    whole, number = folder.absolute(), 1  # "." alone has no name
    while (aside := whole.with_name(f"{whole.name}.old{number}")).exists():
        number += 1
    return aside
