"""Models, limits, metrics and the translation of whole texts, for all routes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from starlette.requests import Request

from nmt.data.text import list_texts
from nmt.serving.engine import Unavailable
from nmt.serving.limits import ApiKeys, Places, RateLimiter, Refusal
from nmt.serving.markup import MarkupText
from nmt.serving.metrics import Metrics
from nmt.serving.models import Models, ServedModel
from nmt.serving.segments import Segment, join_sentences, split_sentences
from nmt.serving.worker import Job, Sentence

WINDOW = 256  # sentences of a request that are translated at a time
Result = TypeVar("Result")


class Limits(NamedTuple):
    """Limits of a service.

    Attributes:
        max_chars: characters of one request
        max_document_chars: characters of a document, whose translation is streamed
        queue: requests at a time
        rate: requests per minute of each client; None for any
    """

    max_chars: int = 5000
    max_document_chars: int = 1_000_000
    queue: int = 256
    rate: float | None = None


class Service:
    """A translation service.

    Args:
        models: loaded models
        limits: limits of its requests
        keys: keys of its clients; None for an open service
        metrics: of this service
    """

    def __init__(
        self, models: Models, limits: Limits, keys: ApiKeys | None, metrics: Metrics
    ) -> None:
        self.models, self.limits, self.keys, self.metrics = models, limits, keys, metrics
        self.places = Places(limits.queue)
        self._rates = RateLimiter()
        metrics.watch_queue(lambda: self.places.taken)

    @asynccontextmanager
    async def admit(self, request: Request, key: str) -> AsyncIterator[None]:
        """Hold a place for a request inside the block.

        Raises:
            Refusal: if its key is unknown, its client is too fast, or no place is free
        """
        rate, client = self.limits.rate, request.client.host if request.client else ""
        if self.keys is not None:
            rate, client = self.keys.rate(key) or rate, key
        if rate is not None:
            self._rates.take(client, rate)
        with self.places.take():
            yield

    def check_length(self, length: int, limit: int) -> None:
        """Raise Refusal for a number of characters above a limit."""
        if length > limit:
            message = f"Invalid request: request ({length}) exceeds text limit ({limit})"
            raise Refusal(413, message)

    async def translate(
        self,
        model: ServedModel,
        sentences: Sequence[Sentence],
        changes: Mapping[str, Any],
        *,
        detailed: bool = False,
        report: bool = False,
    ) -> list[dict[str, Any]]:
        """Translate sentences, and return one dictionary per sentence.

        Args:
            model: model to use
            sentences: all with a target to score, or all without one
            changes: search options that differ from those of the model
            detailed: whether to return all fields of `--jsonl`
            report: whether to return the attention report as a field of the first sentence

        Raises:
            UserError: for invalid options or constraints
            Refusal: if the model is not available
        """
        list_texts([one.text for one in sentences])
        options = model.engine.info.options
        if changes:
            options = options.updated(changes)
        scored = bool(sentences) and sentences[0].target is not None
        key = (json.dumps(changes, sort_keys=True, default=str), scored)
        found: list[dict[str, Any]] = []
        try:
            # A long document leaves room for other requests between its windows.
            size = max(1, len(sentences)) if report else WINDOW
            for start in range(0, len(sentences), size):
                window = sentences[start : start + size]
                # The model may have been replaced since the last window.
                engine = self.models.named(model.name).engine
                found += await engine.translate(Job(window, options, key, detailed, report))
            return found
        except Unavailable as error:
            raise Refusal(503, str(error), 5) from error

    async def translate_texts(
        self, model: ServedModel, texts: Sequence[str], alternatives: int = 0
    ) -> list[list[str]]:
        """Translate texts of several sentences; return each with its alternatives, best first."""
        divided = [split_sentences(text) for text in texts]
        sentences = [Sentence(one.text) for segments in divided for one in segments if one.text]
        n_best = min(alternatives + 1, model.engine.info.options.beam_size)
        changes = {"n_best": n_best} if n_best > 1 else {}
        found = iter(await self.translate(model, sentences, changes))
        return [_joined(segments, found) for segments in divided]

    async def translate_markup(self, model: ServedModel, texts: Sequence[str]) -> list[list[str]]:
        """Translate HTML, whose markup stays in place."""
        parsed = [MarkupText(text) for text in texts]
        sentences = [Sentence(one) for text in parsed for one in text.sentences()]
        found = iter(await self.translate(model, sentences, {}, detailed=True))
        return [[text.render(found)] for text in parsed]


def _joined(segments: list[Segment], found: Iterator[dict[str, Any]]) -> list[str]:
    """Return the translation of a text, and others of which each sentence is the next best."""
    ranked = []
    for one in (next(found) for segment in segments if segment.text):
        best = [other["translation"] for other in one["n_best"]]
        ranked.append(best or [one["translation"]])
    count = max(map(len, ranked), default=1)
    return [
        join_sentences(segments, [best[min(rank, len(best) - 1)] for best in ranked])
        for rank in range(count)
    ]


async def unless_disconnected(request: Request, work: Awaitable[Result]) -> Result:
    """Await work, but cancel it when the client hangs up.

    Args:
        request: whose body has been read
        work: coroutine
    """

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task, watch = asyncio.ensure_future(work), asyncio.ensure_future(hang_up())
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refusal(499, "the client has hung up")
        return task.result()
    finally:
        task.cancel()
        watch.cancel()
