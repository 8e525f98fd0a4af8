"""Rounds of an engine."""

import asyncio
import threading
from typing import Any

import pytest

from nmt.config.search_options import SearchOptions
from nmt.serving.engine import Engine
from nmt.serving.worker import Job, Sentence


class EndlessWorker:
    """A stand-in for `nmt.parallel.Worker` that translates "slow" until it is killed."""

    def __init__(self, process: Any, option: str) -> None:
        self._jobs: Any = None
        self._killed = threading.Event()

    def submit(self, jobs: Any) -> None:
        self._jobs = jobs

    def result(self) -> Any:
        if self._jobs and any(job.sentences[0].text == "slow" for job in self._jobs):
            assert self._killed.wait(10)
            raise RuntimeError("killed")
        return [[{"translation": "x"}] for _ in self._jobs or ()]

    def kill(self) -> None:
        self._killed.set()

    def close(self) -> None:
        pass


def test_round_is_stopped_when_its_clients_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.serving.engine.Worker", EndlessWorker)

    async def test() -> None:
        engine = Engine(lambda: pytest.fail("not called"), 0.005)
        await engine.start()
        slow, fast = (Job([Sentence(text)], SearchOptions()) for text in ("slow", "fast"))
        for _ in range(2):
            left = asyncio.create_task(engine.translate(slow))
            await asyncio.sleep(0.05)  # until the round has begun
            later = asyncio.create_task(engine.translate(fast))
            await asyncio.sleep(0.05)
            assert not later.done()
            left.cancel()
            assert await asyncio.wait_for(later, 5) == [{"translation": "x"}]
        await engine.close()

    asyncio.run(test())


def test_rounds_contain_fewer_sentences_with_the_tree_of_the_beam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nmt.serving.engine.Worker", EndlessWorker)
    rounds: list[int] = []

    async def test() -> None:
        engine = Engine(
            lambda: pytest.fail("not called"), 0.005, lambda jobs, _: rounds.append(jobs)
        )
        await engine.start()
        for options in (SearchOptions(), SearchOptions(beam_tree=True)):
            job = Job([Sentence("fast")], options)
            await asyncio.gather(*(engine.translate(job) for _ in range(20)))
        await engine.close()

    asyncio.run(test())
    assert rounds == [20, 8, 8, 4]
