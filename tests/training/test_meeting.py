"""Finding one another when torchrun starts a job again."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from torch._C._distributed_c10d import Store, TCPStore

from nmt.data.stream import Share
from nmt.training import meeting

SOON = timedelta(seconds=30)


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> TCPStore:
    """The store that torchrun keeps from one start to the next."""
    store = TCPStore("localhost", 0, None, True, SOON, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "localhost")

    def rendezvous(address: str) -> Iterator[tuple[Store, int, int]]:
        yield store, 0, 2

    monkeypatch.setattr(meeting, "rendezvous", rendezvous)
    return store


def test_the_address_of_a_process_that_died_is_passed_over_until_the_new_one_stands_there(
    agents: TCPStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        dead = listening.getsockname()[1]
    agents.set(meeting.KEY, str(dead))
    opened: list[int] = []
    first: list[Store] = []

    def store(host: str, port: int, *arguments: object, **options: object) -> Store:
        opened.append(port)
        return TCPStore(host, port, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(meeting, "TCPStore", store)
    monkeypatch.setattr(time, "sleep", lambda seconds: first.append(meeting.meet(Share(0, 2))))
    second = meeting.meet(Share(1, 2))
    assert len(first) == 1
    assert opened == [0, int(agents.get(meeting.KEY))]  # no store at the dead one, which is slow
    first[0].set("word", "heard")
    assert second.get("word") == b"heard"
