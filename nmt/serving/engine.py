"""A model in a process of its own, and dynamic batching of the requests that wait for it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from nmt.parallel import Worker
from nmt.serving.worker import Job, Load, ModelInfo, ModelProcess, Reply

MAX_WEIGHT = 512  # of the jobs per round trip to the process, beyond the first one
WAIT_SHARE = 0.05  # of the time of the last round


class Unavailable(Exception):
    """A model that cannot translate now; the same request may succeed later."""


class _Waiting(NamedTuple):
    job: Job
    reply: "asyncio.Future[list[dict[str, Any]]]"


class Engine:
    """A model in a process of its own.

    Requests that arrive while the process is busy are translated together next. A round
    starts when as many requests have arrived as the last round contained, or when none has arrived
    for `batch_wait`, or for a twentieth of the last round's time if that is longer. A lone client
    never waits, and clients that send their next sentence when they receive the last one form large
    batches.

    A round that lasts longer than it takes to load the model is stopped when all its clients have
    disconnected, so that it does not delay the requests of others, nor the end of the service.

    Args:
        load: picklable function that loads the model
        batch_wait: seconds
        observe: called with the numbers of jobs and sentences of each round

    Attributes:
        info: facts about the model, once started
    """

    info: ModelInfo

    def __init__(
        self, load: Load, batch_wait: float, observe: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        self._load, self._batch_wait, self._observe = load, batch_wait, observe
        self._waiting: deque[_Waiting] = deque()
        self._arrived, self._complete = asyncio.Event(), asyncio.Event()
        self._expected = 0  # jobs of the next round
        self._last_seconds = self._load_seconds = 0.0
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "engine")
        self._worker: Worker[Sequence[Job] | None, Any] | None = None

    async def start(self) -> ModelInfo:
        """Load the model.

        Raises:
            UserError: if it cannot be loaded
        """
        start = time.perf_counter()
        try:
            self.info = await self._in_thread(None)
        except BaseException:
            await self._stop()
            raise
        self._load_seconds = time.perf_counter() - start
        self._rounds = asyncio.create_task(self._run())
        return self.info

    async def translate(self, job: Job) -> list[dict[str, Any]]:
        """Return one dictionary per sentence of a job. A canceled job that still waits is dropped.

        Raises:
            UserError: for a mistake in the job
            Unavailable: if the process has died
        """
        if self._closing:
            raise Unavailable("the model is being replaced")
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        if len(self._waiting) >= self._expected:
            self._complete.set()
        return await waiting.reply

    async def close(self) -> None:
        """Translate the jobs that wait, then end the process."""
        self._closing = True
        self._arrived.set()
        self._complete.set()
        await self._rounds
        await self._stop()

    async def _run(self) -> None:
        while batch := await self._collect():
            self._expected = len(batch)
            self._observe(len(batch), sum(len(one.job.sentences) for one in batch))
            start = time.perf_counter()
            try:
                replies: list[Reply | Exception] = await self._round(batch)
            except Exception as error:  # the process was killed, lacks memory, or has a bug
                replies = [Unavailable(str(error))] * len(batch)
            self._last_seconds = time.perf_counter() - start
            for one, reply in zip(batch, replies, strict=True):
                if one.reply.done():  # the client has hung up
                    continue
                if isinstance(reply, Exception):
                    one.reply.set_exception(reply)
                else:
                    one.reply.set_result(reply)

    async def _collect(self) -> list[_Waiting]:
        """Return the jobs of the next round; none at the end."""
        batch: list[_Waiting] = []
        while not batch and not (self._closing and not self._waiting):
            await self._arrived.wait()
            present = -1
            while present < len(self._waiting) < self._expected and not self._closing:
                present = len(self._waiting)
                self._complete.clear()
                seconds = max(self._batch_wait, WAIT_SHARE * self._last_seconds)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._complete.wait(), seconds)
            weight = 0
            while self._waiting and weight < MAX_WEIGHT:
                one = self._waiting.popleft()
                if not one.reply.done():
                    batch.append(one)
                    weight += one.job.weight
            if not self._waiting and not self._closing:
                self._arrived.clear()
        return batch

    async def _round(self, batch: list[_Waiting]) -> Any:
        """Return the replies to the jobs of a round; stop it if all clients have disconnected."""
        work = asyncio.ensure_future(self._in_thread([one.job for one in batch]))
        hung_up = asyncio.ensure_future(asyncio.wait([one.reply for one in batch]))
        await asyncio.wait((work, hung_up), return_when=asyncio.FIRST_COMPLETED)
        hung_up.cancel()
        if not work.done():
            # Stopping costs a new process, which only pays for itself after this time.
            await asyncio.wait((work,), timeout=self._load_seconds)
        if not work.done() and self._worker is not None:
            self._worker.kill()
        return await work

    async def _in_thread(self, jobs: Sequence[Job] | None) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._round_trip, jobs)

    def _round_trip(self, jobs: Sequence[Job] | None) -> Any:
        """Send jobs to the process and return its replies; start it before the first ones."""
        if self._worker is None:
            self._worker = Worker(ModelProcess(self._load), "--precision int8")
        try:
            self._worker.submit(jobs)
            return self._worker.result()
        except BaseException:
            # Also after an error that the process has survived: the next one starts clean.
            self._worker.close()
            self._worker = None
            raise

    async def _stop(self) -> None:
        def close() -> None:
            if self._worker is not None:
                self._worker.close()

        with suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._thread, close)
        self._thread.shutdown(wait=False)
