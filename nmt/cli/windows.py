"""Lines of an endless input, in windows that are as large as patience allows."""

import queue
import threading
from collections.abc import Iterable, Iterator
from itertools import islice

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


def _fill(waiting: "queue.Queue[str | BaseException | None]", lines: Iterable[str]) -> None:
    try:
        for line in lines:
            waiting.put(line)
        waiting.put(None)
    except BaseException as error:  # the consumer raises it, after the lines before it
        waiting.put(error)
