"""Items made ready by a thread while their consumer works on those before them."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

PATIENCE = 0.1  # seconds after which a thread whose item nobody takes looks whether anybody will


def ahead(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """The same items, at most `depth` of them ready before they are asked for.

    What their making raises is raised here, behind the items before it. Closing ends the thread,
    when the item is done that it is making.
    """
    ready: queue.Queue[Item | _End] = queue.Queue(depth)
    closed = threading.Event()
    thread = threading.Thread(target=_fill, args=(ready, iter(items), closed), daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
    finally:
        closed.set()
        thread.join()  # one that still ran at Python's end could end the process with a crash
    if item.error is not None:
        raise item.error


class _End:
    """Behind the last item; the error that was in its place, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def _fill(
    ready: "queue.Queue[Item | _End]", items: Iterator[Item], closed: threading.Event
) -> None:
    end = _End()
    try:
        for item in items:
            _offer(ready, item, closed)
            if closed.is_set():
                return
    except BaseException as error:
        end = _End(error)
    _offer(ready, end, closed)


def _offer(ready: "queue.Queue[Item | _End]", item: Item | _End, closed: threading.Event) -> None:
    while not closed.is_set():
        try:
            ready.put(item, timeout=PATIENCE)
            return
        except queue.Full:
            continue
