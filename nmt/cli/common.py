"""What all commands share: options in either spelling, and errors as one line and an exit code."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from nmt.cli.job import INTERRUPTION, Rank, as_rank
from nmt.errors import UserError
from nmt.version import VERSION

DONE, MISTAKE = 0, 2

__all__ = ["DONE", "INTERRUPTION", "MISTAKE", "Parser", "run"]


class Parser(argparse.ArgumentParser):
    """An argument parser whose options take `-` or `_`, and which knows `--version`."""

    def __init__(self, name: str, description: str, epilog: str = "") -> None:
        super().__init__(
            name,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse a command line, sys.argv's when none is given."""
        given = sys.argv[1:] if arguments is None else arguments
        # Intermixed: files and overrides may stand on both sides of an option.
        return self.parse_intermixed_args([_with_dashes(argument) for argument in given])

    def error(self, message: str) -> NoReturn:
        """One line and exit code 2."""
        self.exit(MISTAKE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _with_dashes(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def run(name: str, command: Callable[[], int]) -> int:
    """The exit code of a command; a user's mistakes are told a line each.

    A fault of our own keeps its traceback: Python prints it and leaves with 1. SIGTERM interrupts
    as Ctrl-C does.
    """
    rank = Rank.here()
    if rank.total > 1:
        name = f"{name}, rank {rank.number}" if rank.number else name
        command = as_rank(name, rank, command)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = command()
        sys.stdout.flush()
        return code
    except UserError as error:
        for line in error.lines:
            print(f"{name}: {line}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTION
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be told, and that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
