"""Progress of a long translation on standard error."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from nmt.cli.streams import complain
from nmt.data.compression import FORMATS

Item = TypeVar("Item")

REPORT_SECONDS = 30.0


@contextmanager
def reporting(name: str, items: Iterator[Item], file: str = "-") -> Iterator[Iterator[Item]]:
    """Yield an iterator over the same items, and report their number while it is read.

    A terminal shows a bar, unless the output goes to it as well. Otherwise a line is written every
    30 seconds, so a short command writes nothing.

    Args:
        name: name of the command
        items: translations of lines
        file: text file with these lines, whose number is the total of the bar; `-` without one
    """
    if sys.stderr.isatty():
        if sys.stdout is not None and sys.stdout.isatty():
            yield items
            return
        from tqdm import tqdm

        with tqdm(items, name, _count_lines(file), unit=" lines", leave=False) as bar:
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


def _count_lines(file: str) -> int | None:
    """Return the number of lines of a plain file; None for a pipe or a compressed file."""
    path = Path(file)
    if file == "-" or not path.is_file() or path.suffix in FORMATS:
        return None
    with path.open("rb") as stream:
        # A last line without its end is one line more, at most.
        return sum(block.count(b"\n") for block in iter(partial(stream.read, 1 << 20), b""))


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
