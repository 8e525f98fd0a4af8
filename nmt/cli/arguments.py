"""Types of command-line options."""

import argparse
from collections.abc import Callable


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a parser of integers that are at least `minimum`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected an integer, got '{text}'") from None
        if number < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, got {text}")
        return number

    return parse
