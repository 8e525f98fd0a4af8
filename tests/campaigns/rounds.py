"""Selection of the cases of a round, and tests of many small cases."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest

Function = TypeVar("Function", bound=Callable[..., None])
CASES, FAILURES = "campaign cases", "campaign failures"
MAX_SHOWN = 10


def each(cases: Sequence[tuple[str, Any]], *, short: int) -> Callable[[Function], Function]:
    """Parametrize a test by `case`: all in the full round, `short` spread ones in the short one.

    Args:
        cases: name and value of each case
        short: number of cases of the short round
    """
    return pytest.mark.cases(cases, short)


def select(metafunc: pytest.Metafunc) -> None:
    """Parametrize the tests that `each` marks."""
    marker = metafunc.definition.get_closest_marker("cases")
    if marker is None:
        return
    cases, short = marker.args
    round_name = metafunc.config.getoption("campaign")
    if round_name != "full":
        # By hash, so that neighbors, which resemble each other, are not chosen together.
        cases = sorted(cases, key=lambda case: zlib.crc32(case[0].encode()))
        cases = cases[: short if round_name == "short" else int(round_name)]
    names, values = [name for name, _ in cases], [value for _, value in cases]
    metafunc.parametrize("case", values, ids=names)


class Tally:
    """The cases of one test, which fails at its end if one of them has failed.

    Args:
        record: records a property of the test, for the table of counts
    """

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self.cases = 0
        self.faults: list[str] = []
        self._record = record

    def add(self, fault: str | None) -> None:
        """Count a case with the description of its fault, or None."""
        self.cases += 1
        if fault is not None:
            self.faults.append(fault)

    def check(self) -> None:
        """Record the counts, and fail with the first faults."""
        self._record(CASES, self.cases)
        self._record(FAILURES, len(self.faults))
        shown = "\n".join(self.faults[:MAX_SHOWN])
        assert not self.faults, f"{len(self.faults)} of {self.cases} cases fail:\n{shown}"
