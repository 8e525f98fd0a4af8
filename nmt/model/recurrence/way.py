"""Which way a recurrence goes over a known target: plain or fused."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

from nmt.errors import UserError

Way = Literal["auto", "plain", "fused", "captured"]
"""`captured` is fused, and in CUDA graphs where there is a GPU.

`auto` is fused: much faster on a GPU, and as fast on a CPU in two thirds of the memory; graphs have
to be asked for. What the fused way does not serve goes the plain one, whatever is asked for.
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


def goes_captured() -> bool:
    """Whether a fused recurrence is to be captured in CUDA graphs, on a GPU."""
    return _way() == "captured"


def _way() -> str:
    way = _WAY.get() or os.environ.get(VARIABLE, "auto")
    if way not in get_args(Way):
        raise UserError(f"{VARIABLE}={way}: use {', '.join(get_args(Way))}")
    return way
