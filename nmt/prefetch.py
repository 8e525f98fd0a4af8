"""Work of background threads: one function call, or items while the consumer uses earlier ones."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

POLL_SECONDS = 0.1  # between a blocked producer's checks whether its consumer has left
ARRIVAL_SECONDS = 0.05  # pause after which `read_available` yields an incomplete list
# Python delivers a signal that comes just before a wait without limit only after the wait.
SIGNAL_SECONDS = 1.0


def run_in_thread(name: str, function: Callable[[], Result]) -> Future[Result]:
    """Call a function in a thread, which ends with it; Python waits for the thread at its exit.

    Args:
        name: name of the thread
        function: the function
    """
    executor = ThreadPoolExecutor(1, name)
    result = executor.submit(function)
    executor.shutdown(wait=False)
    return result


def prefetch(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Yield items that a thread has computed in advance.

    An exception of the iterable is raised after the items before it. Closing the generator ends the
    thread as soon as it has computed its current item.

    Args:
        items: consumed by the thread
        depth: maximum number of items that wait
    """
    producer = _Producer(items, depth)
    try:
        while not isinstance(item := producer.queue.get(), _End):
            yield item
    finally:
        producer.stop()
        # A daemon thread that still runs at the exit of Python can crash the process.
        producer.thread.join()
    item.raise_error()


def read_available(items: Iterable[Item], size: int) -> Generator[list[Item], None, None]:
    """Yield lists of the items that have arrived, without waiting for a list to be full.

    Args:
        items: an input that may pause, such as a pipe or a terminal, read by a thread
        size: maximum length of a list, and of the items that wait meanwhile
    """
    producer = _Producer(items, size)
    available: list[Item] = []
    try:
        while True:
            try:
                seconds = ARRIVAL_SECONDS if available else SIGNAL_SECONDS
                item = producer.queue.get(timeout=seconds)
            except queue.Empty:
                if available:
                    yield available
                    available = []
                continue
            if not isinstance(item, _End):
                available.append(item)
            if available and (len(available) == size or isinstance(item, _End)):
                yield available
                available = []
            if isinstance(item, _End):
                item.raise_error()
                return
    finally:
        producer.stop()  # without joining: the thread may wait for input that never comes


class _End:
    """The mark after the last item, with the exception that ended the iterable, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error


class _Producer(Generic[Item]):
    """A thread that fills a bounded queue until it is stopped."""

    def __init__(self, items: Iterable[Item], depth: int) -> None:
        self.queue: queue.Queue[Item | _End] = queue.Queue(depth)
        self._stopped = threading.Event()
        self.thread = threading.Thread(target=self._fill, args=(iter(items),), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Stop the thread after its current item."""
        self._stopped.set()

    def _fill(self, items: Iterator[Item]) -> None:
        end = _End()
        try:
            for item in items:
                self._put(item)
                if self._stopped.is_set():
                    return
        except BaseException as error:
            end = _End(error)
        self._put(end)

    def _put(self, item: Item | _End) -> None:
        # A blocking put would never return once the consumer has left.
        while not self._stopped.is_set():
            try:
                self.queue.put(item, timeout=POLL_SECONDS)
                return
            except queue.Full:
                continue
