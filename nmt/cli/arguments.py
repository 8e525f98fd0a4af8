"""Types of command line options."""

import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """A whole number, not below `least`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got '{text}'") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return number

    return read


def share(most: float | None) -> Callable[[str], float]:
    """A number not below 0, and not above `most` where that is given."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, got '{text}'") from None
        if not 0 <= number < float("inf") or (most is not None and number > most):
            limit = "" if most is None else f" and at most {most:g}"
            raise argparse.ArgumentTypeError(f"must be at least 0{limit}, got {text}")
        return number

    return read
