"""Types and names of command-line options."""

import argparse
from collections.abc import Callable

MAX_COLUMNS = 1000
MAX_SHOWN = 40  # characters of a value in an error message


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a parser of integers from `minimum` to `maximum`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:  # also for thousands of digits
            raise argparse.ArgumentTypeError(f"expected an integer, got {_shown(text)}") from None
        if not minimum <= number <= maximum:
            message = f"must be at least {minimum} and at most {maximum}, got {_shown(text)}"
            raise argparse.ArgumentTypeError(message)
        return number

    return parse


def column(text: str) -> int | str:
    """Parse the number of a column, from 1, or its name."""
    return integer(1, MAX_COLUMNS)(text) if text.isdecimal() else text


def one_line(text: str) -> str:
    """Parse a short text, which has no line break or other control character."""
    if not text.strip() or not text.isprintable() or len(text) > MAX_COLUMNS:
        raise argparse.ArgumentTypeError(f"expected one line of text, got {_shown(text)!a}")
    return text.strip()


def option_name(name: str) -> str:
    """Return the option that argparse stores as an attribute of this name: n_best is --n-best."""
    return f"--{name.replace('_', '-')}"


def _shown(text: str) -> str:
    return f"'{text}'" if len(text) <= MAX_SHOWN else f"'{text[:MAX_SHOWN]}…'"
