"""The command that a user wants to run when training has ended."""

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from nmt.distributed.process_group import ProcessGroup
from nmt.errors import UserError
from nmt.storage.run_dir import RunDir
from nmt.training.hook import StopRequest

log = logging.getLogger("nmt")

STDERR = 2
"""File descriptor for the output of the command, as standard output belongs to results."""


@contextmanager
def run_at_end(
    command: str | None, run: RunDir, stop: StopRequest, process_group: ProcessGroup
) -> Iterator[None]:
    """Run a shell command on the first rank when the block ends, normally or not.

    Its environment contains NMT_RUN, the run directory; NMT_STATUS, which is finished, interrupted
    or failed; and NMT_MESSAGE, the limit that was reached or the error. An error of the command is
    logged, because it does not change the training.

    Args:
        command: the command; None for nothing to run
        run: the run directory
        stop: the request by which training ends
        process_group: processes that train the model together
    """
    if command is None or not process_group.is_first:
        yield
        return
    status, message = "failed", ""
    try:
        yield
        status, message = "interrupted", stop.reason or ""
        if stop.reason is not None:
            status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    except UserError as error:
        message = error.lines[0]
        raise
    except BaseException as error:
        message = f"{type(error).__name__}: {error}"
        raise
    finally:
        _run(command, NMT_RUN=str(run.path.absolute()), NMT_STATUS=status, NMT_MESSAGE=message)


def _run(command: str, **environment: str) -> None:
    log.info("running training.at_end: %s", command)
    try:
        code = subprocess.run(
            command,
            shell=True,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=STDERR,
            check=False,
        ).returncode
    except OSError as error:
        log.warning("training.at_end cannot be run: %s", error)
        return
    if code:
        log.warning("training.at_end failed with exit code %d", code)
