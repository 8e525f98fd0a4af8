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


def non_negative(maximum: float | None = None) -> Callable[[str], float]:
    """Return a parser of finite numbers that are at least 0, and at most `maximum` if given."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, got '{text}'") from None
        if not 0 <= number < float("inf") or (maximum is not None and number > maximum):
            limit = "" if maximum is None else f" and at most {maximum:g}"
            raise argparse.ArgumentTypeError(f"must be at least 0{limit}, got {text}")
        return number

    return parse
