"""Connecting processes when torchrun starts or restarts a job."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from torch._C._distributed_c10d import Store, TCPStore

from nmt.distributed import rendezvous
from nmt.distributed.rank import RankInfo

TIMEOUT = timedelta(seconds=30)


@pytest.fixture
def agent_store(monkeypatch: pytest.MonkeyPatch) -> TCPStore:
    """The store that torchrun keeps across restarts."""
    store = TCPStore("localhost", 0, None, True, TIMEOUT, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "localhost")

    def agents(address: str) -> Iterator[tuple[Store, int, int]]:
        yield store, 0, 2

    monkeypatch.setattr(rendezvous, "rendezvous", agents)
    return store


def test_rendezvous_skips_the_stale_port_of_a_dead_process(
    agent_store: TCPStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        stale = listening.getsockname()[1]
    agent_store.set(rendezvous.PORT_KEY, str(stale))
    opened: list[int] = []
    first: list[Store] = []

    def tcp_store(host: str, port: int, *arguments: object, **options: object) -> Store:
        opened.append(port)
        return TCPStore(host, port, *arguments, **options)  # type: ignore[arg-type]

    def start_rank_0(seconds: float) -> None:
        first.append(rendezvous.open_store(RankInfo(0, 2)))

    monkeypatch.setattr(rendezvous, "TCPStore", tcp_store)
    monkeypatch.setattr(time, "sleep", start_rank_0)
    second = rendezvous.open_store(RankInfo(1, 2))
    assert len(first) == 1
    # A store is never opened at the stale port, where it would retry until its timeout.
    assert opened == [0, int(agent_store.get(rendezvous.PORT_KEY))]
    first[0].set("key", "value")
    assert second.get("key") == b"value"
