"""The API of this toolkit: all results and options of a search, and streams of long documents."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import StreamingResponse

from nmt.errors import UserError
from nmt.search.constraints.request import Constraints
from nmt.serving.libre import ERRORS, ErrorOut
from nmt.serving.limits import Refusal
from nmt.serving.models import ServedModel
from nmt.serving.segments import MAX_CHARS, join_sentences, split_sentences
from nmt.serving.service import Service, unless_disconnected
from nmt.serving.worker import Sentence

WINDOW = 32  # sentences of a document that wait at a time
MAX_CANDIDATES = 100  # of mbr, whose time grows with their square
MAX_TREES = 8  # sentences with the tree of their beam that are held at a time


class SentenceIn(BaseModel):
    """A sentence to translate as it is."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description=f"of at most {MAX_CHARS} characters")
    target: str | None = Field(None, description="translation to score instead of searching")
    prefix: str = Field("", description="beginning of the translation")
    terms: list[str] = Field([], description="phrases of the translation, as often as listed")
    forbid: list[str] = Field([], description="phrases that it does not contain")
    pieces: list[str] = Field([], description="its first pieces")
    attention: dict[int, list[float]] = Field(
        {},
        description="attention weights of steps, one per source piece and one for </s>",
        json_schema_extra={"propertyNames": {"pattern": "^[0-9]{1,4}$"}},
    )

    def sentence(self) -> Sentence:
        """Return the sentence for the process of a model."""
        constraints = Constraints(self.prefix, tuple(self.terms), tuple(self.forbid))
        return Sentence(
            self.text, self.target, constraints, tuple(self.pieces), tuple(self.attention.items())
        )

    @property
    def length(self) -> int:
        """Return the number of characters."""
        strings = (self.prefix, self.target or "", *self.terms, *self.forbid, *self.pieces)
        return len(self.text) + sum(map(len, strings))


class OptionsIn(BaseModel):
    """Options of search that a request may change, within the limits of a service."""

    model_config = ConfigDict(extra="forbid")

    beam_size: int = Field(default=5, ge=1, le=32)
    n_best: int = Field(default=1, ge=1, le=32)
    alternatives: int = Field(default=0, ge=0, le=32)
    quality: bool = False
    beam_tree: bool = Field(
        default=False, description=f"of at most {MAX_TREES} sentences, or in a stream"
    )
    max_length: int = Field(default=1000, ge=1, le=1000)
    length_penalty: str | dict[str, Any] = "average"
    coverage_penalty: str | dict[str, Any] = "none"
    block_ngram_repeat: int = Field(default=0, ge=0, le=1000)
    early_stopping: Literal["exact", "heuristic"] = "exact"
    shortlist: bool = False
    replace_unknown: bool = False
    tag: str = ""
    sampling: dict[str, Any] = {}
    mbr: Literal["chrf", "bleu"] | None = None
    candidates: int | None = Field(default=None, ge=2, le=MAX_CANDIDATES)
    mbr_scale: float = Field(default=0.3, ge=0, le=10)


class V1Request(BaseModel):
    """Parameters of /v1/translate: either `text` or `sentences`."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="name of /v1/models; by default of the languages")
    source: str | None = Field(None, description="code of the source language")
    target: str | None = Field(None, description="code of the target language")
    text: str | None = Field(None, description="text, which is divided into sentences")
    sentences: list[SentenceIn] | None = None
    options: OptionsIn = Field(OptionsIn(), description="those given change those of the model")
    report: bool = Field(False, description="return the attention report as a page")
    stream: bool = Field(False, description="send the sentences of `text` as server-sent events")
    api_key: str = ""


class V1Answer(BaseModel):
    """The answer of /v1/translate."""

    model: str
    translation: str | None = Field(None, description="of a whole `text`")
    sentences: list[dict[str, Any]] = Field(description="fields of --jsonl of each sentence")
    report: str | None = Field(None, description="HTML")


class ModelOut(BaseModel):
    """A model of /v1/models."""

    name: str
    source: str
    target: str


class V1:
    """The routes of version 1.

    Args:
        service: service whose models translate
    """

    def __init__(self, service: Service) -> None:
        self._service, self._models = service, service.models
        self.router = router = APIRouter(prefix="/v1", tags=["version 1"])
        router.add_api_route("/models", self.models, response_model=list[ModelOut])
        errors = {**ERRORS, 404: {"model": ErrorOut, "description": "No such model"}}
        errors |= {422: {"model": ErrorOut, "description": "Invalid request"}}
        router.add_api_route(
            "/translate",
            self.translate,
            methods=["POST"],
            response_model=V1Answer,
            response_model_exclude_none=True,
            responses=errors,
        )

    async def models(self) -> list[dict[str, str]]:
        """Return the models; the first one of a pair is its default."""
        return [
            {"name": one.name, "source": one.source, "target": one.target} for one in self._models
        ]

    async def translate(self, parameters: V1Request, request: Request) -> Any:
        """Translate a text or sentences with all details.

        With `stream`, the answer consists of server-sent events: one `sentence` with the fields of
        `--jsonl`, its white space `before` and its `id` per sentence in order, and `done`, or
        `error` with a message. A stream may be longer than other requests.
        """
        service = self._service
        if (parameters.text is None) == (parameters.sentences is None):
            raise Refusal(400, "give either text or sentences")
        if parameters.stream and (parameters.text is None or parameters.report):
            raise Refusal(400, "stream: requires text, and has no report")
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = parameters.api_key or bearer
        model = self._model(parameters)
        changes = parameters.options.model_dump(exclude_unset=True)
        has_trees = model.engine.info.options.updated(changes).beam_tree
        if parameters.stream:
            assert parameters.text is not None
            service.check_length(len(parameters.text), service.limits.max_document_chars)
            size = MAX_TREES if has_trees else WINDOW
            events = self._events(request, key, model, parameters.text, changes, size)
            # The place is taken, or refused, before the status of the answer is sent.
            first = await anext(events)
            return StreamingResponse(_chain(first, events), media_type="text/event-stream")
        async with service.admit(request, key):
            if parameters.text is not None:
                service.check_length(len(parameters.text), service.limits.max_chars)
                segments = split_sentences(parameters.text)
                sentences = [Sentence(one.text) for one in segments if one.text]
            else:
                given = parameters.sentences or []
                _check_sentences(given)
                service.check_length(sum(one.length for one in given), service.limits.max_chars)
                sentences = [one.sentence() for one in given]
            if has_trees and len(sentences) > MAX_TREES:
                limit = f"beam_tree: of at most {MAX_TREES} sentences, got {len(sentences)}"
                raise Refusal(413, f"{limit}; send fewer, or a text with stream")
            work = service.translate(
                model, sentences, changes, detailed=True, report=parameters.report
            )
            found = await unless_disconnected(request, work)
        answer: dict[str, Any] = {"model": model.name, "sentences": found}
        if parameters.report:
            answer["report"] = found[0].pop("report") if found else ""
        if parameters.text is not None:
            answer["translation"] = join_sentences(segments, [one["translation"] for one in found])
            spaces = (one.before for one in segments if one.text)
            answer["sentences"] = [
                {**one, "before": before} for one, before in zip(found, spaces, strict=True)
            ]
        return answer

    async def _events(
        self,
        request: Request,
        key: str,
        model: ServedModel,
        text: str,
        changes: Mapping[str, Any],
        size: int,
    ) -> AsyncGenerator[bytes, None]:
        """Yield an empty comment once a place is taken, then the events of a stream.

        Up to `size` sentences are in memory at a time.
        """
        segments = split_sentences(text)
        async with self._service.admit(request, key):
            yield b":\n\n"
            try:
                for start in range(0, len(segments), size):
                    window = segments[start : start + size]
                    sentences = [Sentence(one.text) for one in window if one.text]
                    found = iter(
                        await self._service.translate(model, sentences, changes, detailed=True)
                    )
                    for number, (before, source) in enumerate(window, start):
                        fields = next(found) if source else {"translation": ""}
                        yield _event("sentence", {"id": number, "before": before, **fields})
            except (UserError, Refusal) as error:
                yield _event("error", {"error": str(error)})
            else:
                yield _event("done", {"model": model.name})

    def _model(self, parameters: V1Request) -> ServedModel:
        try:
            if parameters.model is not None:
                return self._models.named(parameters.model)
            if parameters.source is not None and parameters.target is not None:
                return self._models.of_pair(parameters.source, parameters.target)
        except UserError as error:
            raise Refusal(404, str(error)) from error
        models = list(self._models)
        if len({(one.source, one.target) for one in models}) > 1:
            raise Refusal(400, "give the model, or source and target")
        return models[0]


def _check_sentences(sentences: Sequence[SentenceIn]) -> None:
    """Raise Refusal for a sentence that is too long, and for targets that are incomplete."""
    longest = max((len(one.text) for one in sentences), default=0)
    if longest > MAX_CHARS:
        limit = f"at most {MAX_CHARS} characters are translated as one sentence"
        raise Refusal(413, f"{limit}, got {longest}; send them as text, which is divided")
    scored = [one for one in sentences if one.target is not None]
    if scored and len(scored) < len(sentences):
        raise Refusal(400, "give a target for all sentences, or for none")
    for one in scored:
        if one.prefix or one.terms or one.forbid or one.pieces or one.attention:
            raise Refusal(400, "a target is scored as it is; remove what constrains it")


def _event(kind: str, content: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


async def _chain(first: bytes, others: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(others):
        yield first
        async for one in others:
            yield one
