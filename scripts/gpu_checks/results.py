"""Cases of a check, and the results that they yield."""

import json
import math
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple, TextIO

MAX_NOTE = 300  # characters


@dataclass(frozen=True)
class Result:
    """One result.

    Attributes:
        case: the code path, such as a backend and a number format
        verdict: passed, FAILED, measured, or end after the last result
        value: distance from the expected value, or a measured value
        limit: largest value that passes
        unit: unit of the value
        note: remarks, or the reason of a failure
    """

    case: str
    verdict: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    note: str = ""


class Case(NamedTuple):
    """A part of a check; an exception in it does not end the others.

    Attributes:
        name: name for its failure
        run: yields its results
    """

    name: str
    run: Callable[[], Iterable[Result]]


def compare(case: str, value: float, limit: float, note: str = "") -> Result:
    """Return whether a value is within its limit; NaN is not."""
    return Result(case, "passed" if value <= limit else "FAILED", value, limit, "", note)


def require(case: str, holds: bool, note: str) -> Result:
    """Return whether a statement holds."""
    return Result(case, "passed" if holds else "FAILED", note=note)


def measured(case: str, value: float, unit: str, note: str = "") -> Result:
    """Return a value that has no limit."""
    return Result(case, "measured", value, None, unit, note)


def write_results(cases: Iterable[Case], output: TextIO) -> None:
    """Run all cases; write each result as a line of JSON as soon as it is known."""
    for case in cases:
        for result in _results(case):
            print(json.dumps(asdict(_finite(result))), file=output, flush=True)
    print(json.dumps(asdict(Result("", "end"))), file=output, flush=True)


def _results(case: Case) -> Iterator[Result]:
    try:
        yield from case.run()
    except Exception as error:  # the other cases may still work
        traceback.print_exc()
        yield Result(case.name, "FAILED", note=describe(error))


def describe(error: Exception) -> str:
    """Return the type and the message of an exception in one line."""
    # Errors of CUDA name the problem in their first line, those of compilers in a later one.
    return " ".join(f"{type(error).__name__}: {error}".split())[:MAX_NOTE]


def _finite(result: Result) -> Result:
    """Move NaN and infinity, which JSON does not have, into the note."""
    if result.value is None or math.isfinite(result.value):
        return result
    return replace(result, value=None, note=f"value {result.value}; {result.note}".rstrip("; "))
