import threading
import time
from collections.abc import Callable, Iterator

import pytest

from nmt.errors import UserError
from nmt.prefetch import prefetch


def test_items_keep_their_order() -> None:
    assert list(prefetch(range(100))) == list(range(100))
    assert list(prefetch(iter(()))) == []


def test_no_more_are_made_than_asked_for_and_the_depth() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    taken = prefetch(items(), depth=2)
    assert next(taken) == 0
    _wait(lambda: len(made) >= 4)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]  # one taken, two ready, one that finds no room
    taken.close()


def test_an_error_comes_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise UserError("line 2 is wrong")

    taken = prefetch(items())
    assert next(taken) == 1
    with pytest.raises(UserError, match="line 2 is wrong"):
        next(taken)


def test_closing_ends_the_thread_and_what_it_reads() -> None:
    ended = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    before = threading.active_count()
    taken = prefetch(items())
    next(taken)
    taken.close()
    assert threading.active_count() == before
    assert ended.is_set()


def _wait(done: Callable[[], bool]) -> None:
    for _ in range(200):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen in two seconds")
