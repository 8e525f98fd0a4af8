"""A service inside the test, whose model translates in a thread."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar

import pytest

from nmt.search.translator import Translator
from nmt.serving.worker import Job, ModelInfo, ModelProcess, Reply

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")


class LocalWorker:
    """A stand-in for `nmt.parallel.Worker` that needs no process."""

    rounds: ClassVar[list[int]] = []

    def __init__(self, process: ModelProcess, option: str) -> None:
        self._process = process
        self._result: ModelInfo | list[Reply] | None = None

    def submit(self, jobs: Sequence[Job] | None) -> None:
        self.rounds.append(0 if jobs is None else sum(len(job.sentences) for job in jobs))
        self._result = self._process(jobs)

    def result(self) -> ModelInfo | list[Reply] | None:
        return self._result

    def close(self) -> None:
        pass


def _identity(translator: Translator) -> Translator:
    return translator


@asynccontextmanager
async def serving(
    *translators: Translator, keys: Any = None, pair: tuple[str, str] | None = None, **limits: Any
) -> AsyncIterator[Any]:
    """Serve translators inside the block, to a client of httpx."""
    from nmt.serving.app import create_app
    from nmt.serving.metrics import Metrics
    from nmt.serving.models import Models, ModelSpec
    from nmt.serving.service import Limits, Service

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmt.serving.engine.Worker", LocalWorker)
        metrics = Metrics()
        specs = [ModelSpec("runs/tiny", partial(_identity, one), pair) for one in translators]
        models = Models(specs, 0.005, metrics.observe_batch)
        await models.load()
        service = Service(models, Limits(**limits), keys, metrics)
        transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            client.service = service
            yield client
        await models.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test that awaits answers."""
    asyncio.run(test())  # type: ignore[arg-type]
