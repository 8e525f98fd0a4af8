"""Parts that all commands share: argument parsing, error messages and exit codes."""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import NoReturn

from nmt.cli.output import remove_staged_files
from nmt.cli.streams import complain, discard, open_closed_streams, output_error, print_result
from nmt.distributed.launch import INTERNAL_ERROR, INTERRUPTED, end_rank, run_as_rank
from nmt.distributed.rank import RankInfo
from nmt.errors import DISK_ERRORS, UserError, file_error, is_out_of_memory
from nmt.version import VERSION

SUCCESS, USER_ERROR = 0, 2
MAX_MESSAGE = 1000  # characters
_signals_received: list[int] = []

__all__ = ["INTERNAL_ERROR", "INTERRUPTED", "SUCCESS", "USER_ERROR", "Parser", "run"]


class Parser(argparse.ArgumentParser):
    """An argument parser with `--version`, whose options accept `-` or `_` in their names.

    Args:
        name: name of the command
        description: printed above the options
        epilog: printed below the options, for example examples of use
    """

    def __init__(self, name: str, description: str, epilog: str = "") -> None:
        super().__init__(
            name,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # An abbreviation would become ambiguous as soon as an option is added.
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse a command line; None parses the arguments of this process."""
        given = list(sys.argv[1:] if arguments is None else arguments)
        for argument in given[: given.index("--") if "--" in given else None]:
            # Before Python 3.13, argparse makes an empty list of this value.
            if match := re.fullmatch(r"(--[^=]+|-\w)=?--", argument):
                self.error(f"argument {match[1]}: expected a value, got '--'")
        # Intermixed: files and overrides may precede and follow options.
        return self.parse_intermixed_args([_with_dashes(argument) for argument in given])

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with the code of a user error."""
        self.exit(USER_ERROR, f"{self.prog}: {_shortened(message)}; see {self.prog} --help\n")

    def _print_message(self, message: str, file: object = None) -> None:
        # argparse ignores errors of writing, and Python reports them at exit with a traceback.
        if file is sys.stderr:
            complain(message.removesuffix("\n"))
        else:
            print_result(message.removesuffix("\n"))


def _shortened(message: str) -> str:
    """Return a message on one line and without the middle of a very long value."""
    line = " ".join(message.split("\n"))
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 103]} … {line[-100:]}"


def _with_dashes(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def run(name: str, command: Callable[[], int], *, memory: str = "the sizes of the model") -> int:
    """Run a command and return its exit code, after printing user errors as one line each.

    Errors of the system, such as a full disk, and want of memory are printed in one line as well.
    Any other exception is an internal error: its traceback is left to Python, which exits with 1.
    SIGTERM interrupts the command as Ctrl-C does, and a second signal ends the process at once. One
    of the processes that torchrun started ends here with the exit code.

    Args:
        name: name of the command, for messages
        command: returns the exit code
        memory: settings that reduce the memory of the command, for the message
    """
    open_closed_streams()
    info = RankInfo.from_environment()
    if info.world_size == 1:
        return _exit_code(name, command, memory)
    name = name if info.is_first else f"{name}, rank {info.rank}"
    end_rank(_exit_code(name, partial(run_as_rank, name, info, command), memory))


def _exit_code(name: str, command: Callable[[], int], memory: str) -> int:
    """Run a command as `run` describes, and return its exit code."""
    _signals_received.clear()
    _handle_signals(_interrupt)
    threading.excepthook = _report_thread
    try:
        code = command()
        _flush_output()
    except KeyboardInterrupt:
        _handle_signals(_exit_at_once)
        remove_staged_files()
        complain(f"{name}: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has exited, as `head` does: no error, and nothing left to write.
        discard(sys.stdout)
        return SUCCESS
    except Exception as error:
        reported = _as_user_error(error, memory)
        if reported is None:
            plugins = sys.modules.get("nmt.config.plugins")  # not imported where none can be in use
            if plugins is not None and (line := plugins.plugin_line(error)):
                complain(f"{line}: {type(error).__name__}: {error}")
            raise
        for line in reported.lines:
            complain(f"{name}: {line}")
        return USER_ERROR
    if code == INTERRUPTED:
        _handle_signals(_exit_at_once)
    return code


def _as_user_error(error: Exception, memory: str) -> UserError | None:
    """Return the error that is printed instead of a traceback; None for an internal error."""
    if isinstance(error, UserError):
        return error
    if is_out_of_memory(error):
        return UserError(f"out of memory; lower {memory}")
    # Paths are checked where they are read; these errors remain: full disks, files that vanish.
    if isinstance(error, OSError) and (error.filename or error.errno in DISK_ERRORS):
        return file_error(error, failed="failed")
    return None


def _report_thread(arguments: threading.ExceptHookArgs) -> None:
    """Print the traceback of a thread, except for a failing disk.

    TensorBoard's thread passes such an error on to the main thread, which reports it in one line.
    """
    error = arguments.exc_value
    if not (isinstance(error, OSError) and error.errno in DISK_ERRORS):
        threading.__excepthook__(arguments)


def _flush_output() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_error(error) from error


def _handle_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    # Other threads may not set handlers; a shell lets its background processes ignore SIGINT.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _signals_received.append(number)
    _handle_signals(_exit_at_once)
    raise KeyboardInterrupt


def check_interrupt() -> None:
    """Raise KeyboardInterrupt if a signal was received, after calls that may discard exceptions.

    Native code that imports Python modules, such as that of torch, does so.
    """
    if _signals_received:
        raise KeyboardInterrupt


def _exit_at_once(number: int, frame: FrameType | None) -> NoReturn:
    # Without the exit handlers of Python, which print a traceback when they are interrupted.
    remove_staged_files()
    os._exit(INTERRUPTED)
