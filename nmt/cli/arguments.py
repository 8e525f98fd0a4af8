"""Types and names of command-line options, and the options that several commands share."""

import argparse
from collections.abc import Callable
from math import inf, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

MAX_COLUMNS = 1000
MAX_SHOWN = 40  # characters of a value in an error message
MAX_THREADS = 1024
# Those of nmt.evaluation.metrics, which is too slow to import for `--help`.
METRICS = ("bleu", "chrf", "ter", "exact")


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


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not 0 < number < inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {_shown(text)}")
    return number


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


def add_checkpoint(
    group: "_ArgumentGroup",
    choices: str = "best, last, average (of the kept ones) or the number of an update",
) -> None:
    """Add the option of the checkpoint.

    Args:
        group: group of options that receives it
        choices: help that lists the values
    """
    group.add_argument(
        "--checkpoint", default="best", metavar="NAME", help=f"{choices} (default: best)"
    )


def add_trust_plugins(group: "_ArgumentGroup", effect: str) -> None:
    """Add the flag that allows the Python code of runs.

    Args:
        group: group of options that receives it
        effect: help without the default
    """
    group.add_argument(
        "--trust-plugins",
        action="store_true",
        help=f"{effect} (default: off, such runs are refused)",
    )


def add_device(
    group: "_ArgumentGroup", purpose: str = "device; auto is a GPU if there is one"
) -> None:
    """Add the option of the device.

    Args:
        group: group of options that receives it
        purpose: help without the default
    """
    group.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help=f"{purpose} (default: auto)",
    )


def add_precision(
    group: "_ArgumentGroup", models: str, default: str, value: str | None = None
) -> None:
    """Add the option of the number format of translation.

    Args:
        group: group of options that receives it
        models: help that names the models it applies to
        default: help that names the default
        value: the default
    """
    group.add_argument(
        "--precision",
        choices=["fp32", "tf32", "bf16", "fp16", "int8"],
        default=value,
        help=f"number format of the {models}; tf32 and fp16 require a GPU, int8 a CPU "
        f"(default: {default})",
    )


def add_fast(group: "_ArgumentGroup") -> None:
    """Add the flag of the fast mode.

    Args:
        group: group of options that receives it
    """
    group.add_argument(
        "--fast",
        action="store_true",
        help="approximate on a CPU: --precision int8, --shortlist, and recurrent encoders in bf16 "
        "if the CPU has instructions for it (default: off)",
    )


def add_threads(group: "_ArgumentGroup", users: str, default: str = "all cores") -> None:
    """Add the option of the number of CPU threads.

    Args:
        group: group of options that receives it
        users: help that names the work of the threads
        default: help that names the default
    """
    group.add_argument(
        "--threads",
        type=integer(1, MAX_THREADS),
        metavar="N",
        help=f"CPU threads {users} (default: {default})",
    )


def add_metrics(group: "_ArgumentGroup", default: str) -> None:
    """Add the option of the metrics, which is None by default.

    Args:
        group: group of options that receives it
        default: help that names the metrics without the option
    """
    group.add_argument(
        "--metrics",
        nargs="+",
        choices=METRICS,
        help="metrics of sacreBLEU, and exact: the percentage of correct lines "
        f"(default: {default})",
    )


def add_lowercase(group: "_ArgumentGroup") -> None:
    """Add the flag that makes metrics ignore case."""
    group.add_argument("--lowercase", action="store_true", help="ignore case (default: off)")


def _shown(text: str) -> str:
    return f"'{text}'" if len(text) <= MAX_SHOWN else f"'{text[:MAX_SHOWN]}…'"
