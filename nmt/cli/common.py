"""Parts that all commands share: argument parsing, error messages and exit codes."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from nmt.distributed.launch import INTERNAL_ERROR, INTERRUPTED, run_as_rank
from nmt.distributed.rank import RankInfo
from nmt.errors import DISK_ERRORS, UserError, file_error
from nmt.version import VERSION

SUCCESS, USER_ERROR = 0, 2

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
        given = sys.argv[1:] if arguments is None else arguments
        # Intermixed: files and overrides may precede and follow options.
        return self.parse_intermixed_args([_with_dashes(argument) for argument in given])

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with the code of a user error."""
        self.exit(USER_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


def _with_dashes(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def run(name: str, command: Callable[[], int]) -> int:
    """Run a command and return its exit code, after printing user errors as one line each.

    Any other exception is an internal error: its traceback is left to Python, which exits with 1.
    SIGTERM interrupts the command as Ctrl-C does.

    Args:
        name: name of the command, for messages
        command: returns the exit code
    """
    info = RankInfo.from_environment()
    if info.world_size > 1:
        name = name if info.is_first else f"{name}, rank {info.rank}"
        command = partial(run_as_rank, name, info, command)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = command()
        # Here, so that a closed pipe is handled below instead of at the exit of Python.
        sys.stdout.flush()
        return code
    except UserError as error:
        for line in error.lines:
            print(f"{name}: {line}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has exited, as `head` does: no error, and nothing left to write.
        # Python would still flush standard output at exit, so the rest goes to the null device.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SUCCESS
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        print(f"{name}: {file_error(error)}", file=sys.stderr)
        return USER_ERROR
