"""Starting, continuing and replacing a run."""

import json
import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import yaml

from nmt.config.schema import Experiment
from nmt.config.yaml_source import leaves
from nmt.errors import UserError, printable
from nmt.storage.atomic import (
    STALE_SECONDS,
    exists,
    file_errors,
    is_leftover,
    is_regular,
    move_aside,
    remove_leftovers,
    replace_file,
)
from nmt.storage.lock import RunLock
from nmt.storage.run_dir import RunDir
from nmt.storage.run_inputs import check_continuation

log = logging.getLogger("nmt")


@contextmanager
def open_run_dir(
    path: Path,
    experiment: Experiment,
    *,
    restart: bool,
    lock: RunLock,
    fixed_options: Collection[str] = (),
) -> Iterator[RunDir]:
    """Yield the run of an experiment, new or to be continued, while it is being prepared.

    When the preparation ends with a UserError, the file system is left as it was: a new run is
    removed, and a run that was renamed for a restart gets its name back. A run without a checkpoint
    is prepared like a new one, because nothing of it would be lost.

    Args:
        path: the run directory
        experiment: the resolved experiment
        restart: rename an existing run and start from the beginning
        lock: locks the run directory, also after this block
        fixed_options: options that may not change in this run, although they may in others

    Raises:
        UserError: the directory is in use, or holds a run of another experiment or something else
    """
    run = RunDir(path)
    _check_names(path, experiment)
    _check_kinds(run)
    with ExitStack() as stack:
        _make_and_lock(run, lock)
        is_new = not exists(run.config)
        if restart and not is_new:
            stack.enter_context(_renamed(run))
            _make_and_lock(run, lock)
            is_new = True
        if is_new:
            stack.enter_context(_removed_on_user_error(path, lock))
        _remove_leftovers(run, experiment)
        if not run.has_checkpoint():
            _prepare_new(run, experiment)
            yield run
            return
        changes = check_continuation(run, experiment, fixed_options)
        yield run
        # After the preparation, which may find that the text is another one.
        if changes:
            log.info("options changed since the last start: %s", "; ".join(changes))
        text = to_yaml(experiment)
        if run.config.read_bytes() != text.encode():
            replace_file(run.config, text)


def to_yaml(experiment: Experiment) -> str:
    """Return the resolved experiment as YAML, every option written out."""
    text: str = yaml.safe_dump(experiment.to_dict(), sort_keys=False, allow_unicode=True, width=100)
    return text


def _check_names(path: Path, experiment: Experiment) -> None:
    """Refuse names that are not UTF-8, which neither YAML nor safetensors can represent."""
    for key, value in ((("--run",), str(path)), *leaves(experiment.to_dict())):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            message = f"{printable(str(value))} is not UTF-8; rename the file or its folder"
            raise UserError(message, ".".join(map(str, key))) from None


def _check_kinds(run: RunDir) -> None:
    """Refuse a file in place of a directory, and a directory, pipe or device in place of a file.

    It would stop the run hours later, or block it.
    """
    with file_errors(run.path, "cannot be used"):
        if exists(run.path) and not run.path.is_dir():
            raise UserError("is a file; choose a directory for the run", str(run.path))
        directories = (run.plugins, run.vocabulary, run.checkpoints, run.cache)
        reports = (run.tensorboard, run.csv, run.trackers, run.samples, run.attention)
        for directory in (*directories, *reports):
            if exists(directory) and not directory.is_dir():
                raise UserError("is not a directory; rename or remove it", str(directory))
        for file in (run.config, run.log, run.batch_tokens, run.lock):
            if exists(file) and not is_regular(file):
                raise UserError("is not a regular file; rename or remove it", str(file))


def _make_and_lock(run: RunDir, lock: RunLock) -> None:
    """Lock the directory of a run, created if it does not exist; refuse one with other content."""
    with file_errors(run.path, "cannot be created"):
        is_absent = not exists(run.path)
        run.path.mkdir(parents=True, exist_ok=True)
        entries = [entry for entry in run.path.iterdir() if not is_leftover(entry.name)]
    if entries and run.config not in entries and entries != [run.lock]:
        raise UserError("is not empty and holds no run; choose another --run", str(run.path))
    try:
        lock.acquire(run.lock)
    except UserError:
        if is_absent:
            with suppress(OSError):  # another process may have taken it meanwhile
                run.path.rmdir()
        raise


def _remove_leftovers(run: RunDir, experiment: Experiment) -> None:
    """Remove the temporary files of processes that were killed."""
    for folder in (run.path, run.checkpoints, run.cache):
        remove_leftovers(folder)
    if experiment.data.cache is not None:
        # Another run may be writing to a cache that is shared.
        remove_leftovers(experiment.data.cache, min_age_seconds=STALE_SECONDS)


def _prepare_new(run: RunDir, experiment: Experiment) -> None:
    """Write the config, and remove the files that a killed process prepared for another text."""
    with file_errors(run.path):
        for directory in (run.vocabulary, run.plugins):
            if directory.is_dir():
                shutil.rmtree(directory)
        run.batch_tokens.unlink(missing_ok=True)
    replace_file(run.config, to_yaml(experiment))


@contextmanager
def _renamed(run: RunDir) -> Iterator[None]:
    renamed = move_aside(run.path)
    with suppress(OSError):
        (renamed / run.lock.name).write_text("")  # not trained under its new name
    try:
        yield
    except UserError:
        renamed.rename(run.path)
        raise


@contextmanager
def _removed_on_user_error(path: Path, lock: RunLock) -> Iterator[None]:
    try:
        yield
    except UserError:
        lock.release()
        shutil.rmtree(path, ignore_errors=True)
        raise
