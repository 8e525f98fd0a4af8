"""Progress of a long translation on standard error."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from nmt.cli.streams import complain

Item = TypeVar("Item")

REPORT_SECONDS = 30.0


@contextmanager
def reporting(name: str, items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Yield an iterator over the same items, and report their number while it is read.

    A terminal shows a bar, unless the output goes to it as well. Otherwise a line is written every
    30 seconds, so a short command writes nothing.

    Args:
        name: name of the command
        items: translations of lines
    """
    if sys.stderr.isatty():
        if sys.stdout is not None and sys.stdout.isatty():
            yield items
            return
        from tqdm import tqdm

        with tqdm(items, name, unit=" lines", leave=False) as bar:
            yield iter(bar)
        return
    counted = _Counted(items)
    done = threading.Event()
    reporter = threading.Thread(target=_report, args=(counted, done), daemon=True)
    reporter.start()
    try:
        yield counted
    finally:
        done.set()
        reporter.join()


class _Counted(Iterator[Item]):
    """An iterator that counts its items."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self.count = 0

    def __next__(self) -> Item:
        item = next(self._items)
        self.count += 1
        return item


def _report(counted: _Counted[Item], done: threading.Event) -> None:
    start = time.monotonic()
    while not done.wait(REPORT_SECONDS):
        seconds = time.monotonic() - start
        complain(f"{counted.count:,} lines translated in {seconds:.0f} s")
