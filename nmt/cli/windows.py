"""Lines of an endless input, in windows that are as large as patience allows, and their sharing."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from nmt.training.ranks import Ranks

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 0.05  # seconds without a further line after which a window is handed out as it is


def full_windows(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Windows of `size` lines, the last one shorter: for input that is all there."""
    iterator = iter(lines)
    while window := list(islice(iterator, size)):
        yield window


def ready_windows(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Windows of what has come so far, at most `size` lines: for a pipe or a terminal.

    Reading goes on beside the consumer's work, at most a window ahead.
    """
    waiting: queue.Queue[str | BaseException | None] = queue.Queue(size)
    threading.Thread(target=_fill, args=(waiting, lines), daemon=True).start()
    window: list[str] = []
    while True:
        try:
            line = waiting.get(timeout=PATIENCE if window else None)
        except queue.Empty:
            yield window
            window = []
            continue
        if isinstance(line, str):
            window.append(line)
        if window and (len(window) == size or not isinstance(line, str)):
            yield window
            window = []
        if isinstance(line, BaseException):
            raise line
        if line is None:
            return


def spread_windows(
    windows: Iterator[list[Item]],
    work: Callable[[list[Item], range], list[Result]],
    ranks: "Ranks",
) -> Generator[Result, None, None]:
    """Results of all windows in order, for the first rank; the others do their share and get none.

    Args:
        windows: only those of the first rank are looked at
        work: results for some items, whose numbers among all are given too
    """
    before = 0
    while (window := ranks.first_says(lambda: next(windows, None))) is not None:

        def numbered(items: list[Item], numbers: range, before: int = before) -> list[Result]:
            return work(items, range(numbers.start + before, numbers.stop + before, numbers.step))

        results = ranks.spread(window, numbered)
        before += len(window)
        try:
            yield from results
        except GeneratorExit:
            ranks.same(None)  # nobody reads on, and the others wait for a window
            raise


def _fill(waiting: "queue.Queue[str | BaseException | None]", lines: Iterable[str]) -> None:
    try:
        for line in lines:
            waiting.put(line)
        waiting.put(None)
    except BaseException as error:  # the consumer raises it, after the lines before it
        waiting.put(error)
