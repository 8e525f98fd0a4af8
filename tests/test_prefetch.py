"""Background reading: order, bounds, errors and the end of the thread."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import Queue

import pytest

from nmt.errors import UserError
from nmt.prefetch import prefetch, read_available


def test_prefetch_keeps_the_order() -> None:
    assert list(prefetch(range(100))) == list(range(100))
    assert list(prefetch(iter(()))) == []


def test_prefetch_computes_no_more_items_than_its_depth() -> None:
    computed = []

    def items() -> Iterator[int]:
        for number in range(10):
            computed.append(number)
            yield number

    prefetched = prefetch(items(), depth=2)
    assert next(prefetched) == 0
    _wait_until(lambda: len(computed) >= 4)
    time.sleep(0.05)
    assert computed == [0, 1, 2, 3]  # one consumed, two in the queue, one blocked
    prefetched.close()


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise UserError("line 2 is wrong")

    prefetched = prefetch(items())
    assert next(prefetched) == 1
    with pytest.raises(UserError, match="line 2 is wrong"):
        next(prefetched)


def test_closing_ends_the_thread_and_closes_the_iterable() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    before = threading.active_count()
    prefetched = prefetch(items())
    next(prefetched)
    prefetched.close()
    assert threading.active_count() == before
    assert closed.is_set()


def test_available_items_are_returned_while_the_input_pauses() -> None:
    arriving: Queue[int | None] = Queue()
    lists = read_available(iter(arriving.get, None), size=3)
    arriving.put(1)
    assert next(lists) == [1]
    arriving.put(2)
    arriving.put(3)
    assert next(lists) == [2, 3]
    arriving.put(None)
    assert list(lists) == []


def test_a_complete_input_is_returned_in_full_lists() -> None:
    assert list(read_available(range(7), size=3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(read_available(range(6), size=3)) == [[0, 1, 2], [3, 4, 5]]
    assert list(read_available((), size=3)) == []


def test_an_error_of_the_input_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise UserError("line 3 is wrong")

    lists = read_available(items(), size=3)
    assert next(lists) == [1, 2]
    with pytest.raises(UserError, match="line 3 is wrong"):
        next(lists)


def test_a_consumer_that_leaves_ends_the_thread() -> None:
    before = threading.active_count()
    lists = read_available(iter(int, 1), size=2)  # without end
    next(lists)
    lists.close()
    _wait_until(lambda: threading.active_count() == before)


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("the condition was not met within two seconds")
