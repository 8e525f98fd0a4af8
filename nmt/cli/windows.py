"""Windows of input lines, and their distribution over ranks."""

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from nmt.distributed.process_group import ProcessGroup

Item = TypeVar("Item")
Result = TypeVar("Result")


def full_windows(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Windows of `size` lines, the last one shorter: for input that is all there."""
    iterator = iter(lines)
    while window := list(islice(iterator, size)):
        yield window


def spread_windows(
    windows: Iterator[list[Item]],
    work: Callable[[list[Item], range], list[Result]],
    ranks: "ProcessGroup",
) -> Generator[Result, None, None]:
    """Results of all windows in order, for the first rank; the others do their share and get none.

    Args:
        windows: only those of the first rank are looked at
        work: results for some items, whose numbers among all are given too
    """
    before = 0
    while (window := ranks.on_first(lambda: next(windows, None))) is not None:

        def numbered(items: list[Item], numbers: range, before: int = before) -> list[Result]:
            return work(items, range(numbers.start + before, numbers.stop + before, numbers.step))

        results = ranks.map(numbered, window)
        before += len(window)
        try:
            yield from results
        except GeneratorExit:
            ranks.broadcast(None)  # nobody reads on, and the others wait for a window
            raise
