"""Running a command as one of the ranks that torchrun started.

This module does not import torch, because every command imports it for `--help` too.
"""

import atexit
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from nmt.distributed.rank import RankInfo
from nmt.errors import UserError

INTERNAL_ERROR, INTERRUPTED = 1, 130

# torchrun polls its processes ten times per second and stops the others when one has failed. On a
# busy machine, seconds pass between the failure of a process and its exit.
TERMINATION_SECONDS = 10.0
# An error of the program itself may be that of a single rank, whose traceback is urgent.
INTERNAL_ERROR_SECONDS = 3.0
# Limit on the exit of a process whose peers no longer answer.
EXIT_SECONDS = 30


def run_as_rank(name: str, info: RankInfo, command: Callable[[], int]) -> int:
    """Run a command as one rank of several and return its exit code.

    All ranks may fail in the same way, for example on an error in the config. So that the error is
    printed once, ranks other than the first wait for torchrun to stop them before they report it;
    so does every rank that only lost the connection to another one.

    Args:
        name: name of the command, for messages
        info: rank of this process
        command: returns the exit code
    """
    # C++ warns in each process that all parameters were used (see ProcessGroup.wrap). torch reads
    # the variable at its import, and warnings of its Python code are printed nevertheless.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        return command()
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        if info.is_first:
            raise
        return INTERRUPTED
    except BaseException as error:
        signal.alarm(EXIT_SECONDS)
        is_user_error = isinstance(error, UserError)
        lost = not is_user_error and _is_lost_connection(error)
        if lost or not info.is_first:
            is_common = lost or is_user_error
            _wait_for_termination(TERMINATION_SECONDS if is_common else INTERNAL_ERROR_SECONDS)
        if lost:
            print(f"{name}: lost connection to the other processes: {error}", file=sys.stderr)
            return INTERNAL_ERROR
        _record_exception(error)
        raise


def _is_lost_connection(error: BaseException) -> bool:
    from nmt.distributed.process_group import is_lost_connection

    return is_lost_connection(error)


def end_rank(code: int) -> NoReturn:
    """End the process of a rank with an exit code, without finalizing the interpreter.

    A thread of gloo may still release the tensor of the last operation, for which it needs the
    interpreter. During finalization this aborts the process, and torchrun reports a failed job.
    """
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader has left
            stream.flush()
    os._exit(code)


def terminate() -> None:
    """End this process as an unhandled SIGTERM does, without a message."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def _wait_for_termination(seconds: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # torchrun's signal; exit without a message
    time.sleep(seconds)


def _record_exception(error: BaseException) -> None:
    """Write the exception to the file that torchrun reads for its own summary."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    get_error_handler().record_exception(error)
