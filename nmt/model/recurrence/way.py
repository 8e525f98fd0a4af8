"""Which way a recurrence goes over a known target: plain or fused."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

from nmt.errors import UserError

Way = Literal["auto", "plain", "fused"]
"""`auto` is fused: much faster on a GPU, and as fast on a CPU in two thirds of the memory.

A decoder that the fused recurrence does not support uses the plain one in every case.
"""

VARIABLE = "NMT_RECURRENCE"
"""The environment variable that says the way where no `going` does."""

_WAY: ContextVar[Way | None] = ContextVar("way", default=None)


@contextmanager
def going(way: Way) -> Iterator[None]:
    """Inside it, recurrences over a known target go this way."""
    before = _WAY.set(way)
    try:
        yield
    finally:
        _WAY.reset(before)


def goes_fused() -> bool:
    """Whether a recurrence is to be fused.

    Raises:
        UserError: when the environment asks for a way that there is not
    """
    return _way() != "plain"


def _way() -> str:
    way = _WAY.get() or os.environ.get(VARIABLE, "auto")
    if way not in get_args(Way):
        raise UserError(f"{VARIABLE}={way}: use {', '.join(get_args(Way))}")
    return way
