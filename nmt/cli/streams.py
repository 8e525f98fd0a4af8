"""Standard streams of the commands, which may be closed, full, or a pipe without a reader."""

import io
import os
import sys
from contextlib import suppress

from nmt.errors import UserError

STANDARD_OUTPUT = "standard output"


def open_closed_streams() -> None:
    """Replace closed standard streams, so that no file of the command gets their number.

    A closed standard error discards messages. Closed standard input and output stay None in `sys`,
    and are errors where a command needs them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the one that is closed. Standard input is opened as a
            # directory, which cannot be read by mistake.
            os.open("/" if number == 0 else os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)


def complain(message: str) -> None:
    """Print a line on standard error; a full or closed one discards it."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def print_result(text: str) -> None:
    """Print text on standard output and flush it.

    Raises:
        UserError: if standard output is closed, or cannot be written to
        BrokenPipeError: if the reader of the output has exited
    """
    output = standard_output()
    try:
        print(text, file=output, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_error(error) from error


def standard_output() -> io.TextIOWrapper:
    """Return standard output, set to UTF-8 and LF.

    Raises:
        UserError: if it is closed
    """
    if sys.stdout is None:
        message = "is closed; redirect it to a file or to /dev/null"
        raise UserError(message, STANDARD_OUTPUT)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    # Names of files need not be UTF-8.
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    return sys.stdout


def output_error(error: OSError) -> UserError:
    """Return the user error for an OSError of writing to standard output."""
    # Python would flush the rest at exit and fail again.
    discard(sys.stdout)
    message = f"cannot write: {error.strerror}; redirect it to another file"
    return UserError(message, STANDARD_OUTPUT)


def discard(stream: object) -> None:
    """Send the rest of a stream's output to the null device."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[attr-defined]
        os.close(null)
