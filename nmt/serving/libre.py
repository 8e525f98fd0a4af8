"""The API of LibreTranslate: https://libretranslate.com/docs.

Parameters are accepted as JSON, as a form and in the query, because clients use all three. Errors
are `{"error": message}` with the statuses and, where a client may depend on them, the messages of
LibreTranslate; a text that is too long is 413 instead of 400.
"""

import logging
import secrets
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from nmt.data.languages import language_name
from nmt.data.text import list_texts
from nmt.serving.detection import detect
from nmt.serving.limits import Refusal
from nmt.serving.models import AUTO
from nmt.serving.service import Service, unless_disconnected

MAX_ALTERNATIVES = 100
FILE_FORMATS = (".txt", ".html", ".htm")
MAX_HTML = 200_000  # characters
MAX_KEPT_CHARS = 20_000_000  # of translated files, the oldest of which are dropped
Model = TypeVar("Model", bound=BaseModel)
# Its warnings would repeat the error messages of responses in the log.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


class Detection(BaseModel):
    """A language of a text, with a confidence in percent."""

    confidence: float
    language: str


class TranslateRequest(BaseModel):
    """Parameters of /translate."""

    q: str | list[str] = Field(min_length=1, description="text, or a list of texts")
    source: str = Field(min_length=1, description="code of the source language, or auto")
    target: str = Field(min_length=1, description="code of the target language")
    format: Literal["text", "html"] = "text"
    alternatives: int = Field(0, ge=0, le=MAX_ALTERNATIVES)
    api_key: str = ""


class DetectRequest(BaseModel):
    """Parameters of /detect."""

    q: str = Field(min_length=1)
    api_key: str = ""


class FileRequest(BaseModel):
    """Parameters of /translate_file, next to the file."""

    source: str = Field(min_length=1)
    target: str = Field(min_length=1)
    api_key: str = ""


class TranslatedFile(BaseModel):
    """The answer of /translate_file."""

    translatedFileUrl: str  # noqa: N815 - the name in LibreTranslate


class Translated(BaseModel):
    """The answer of /translate."""

    translatedText: str | list[str]  # noqa: N815 - the name in LibreTranslate
    alternatives: list[str] | list[list[str]] | None = None
    detectedLanguage: Detection | list[Detection] | None = None  # noqa: N815


class LanguageOut(BaseModel):
    """A language of /languages."""

    code: str
    name: str
    targets: list[str]


class ErrorOut(BaseModel):
    """The answer to a request that failed."""

    error: str


ERROR_CONTENT = {"application/json": {"schema": ErrorOut.model_json_schema()}}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorOut, "description": "Invalid request"},
    403: {"model": ErrorOut, "description": "API key missing or unknown"},
    413: {"model": ErrorOut, "description": "Text too long"},
    429: {"model": ErrorOut, "description": "Too many requests of this client"},
    503: {"model": ErrorOut, "description": "Too many requests at a time"},
}


class Libre:
    """The routes of LibreTranslate.

    Args:
        service: service whose models translate
    """

    def __init__(self, service: Service) -> None:
        self._service, self._models = service, service.models
        self._files: dict[str, str] = {}
        self.router = router = APIRouter(tags=["LibreTranslate"])
        router.add_api_route(
            "/translate",
            self.translate,
            response_model=Translated,
            openapi_extra=_body(self._schema(TranslateRequest)),
            methods=["POST"],
            responses=ERRORS,
        )
        router.add_api_route(
            "/detect",
            self.detect,
            response_model=list[Detection],
            openapi_extra=_body(DetectRequest.model_json_schema()),
            methods=["POST"],
            responses=ERRORS,
        )
        form = self._schema(FileRequest)
        form["properties"]["file"] = {"type": "string", "format": "binary"}
        form["required"] = ["file", *form["required"]]
        router.add_api_route(
            "/translate_file",
            self.translate_file,
            response_model=TranslatedFile,
            openapi_extra=_body(form, "multipart/form-data"),
            methods=["POST"],
            responses=ERRORS,
        )
        router.add_api_route(
            "/download_file/{name}",
            self.download_file,
            name="download",
            response_class=PlainTextResponse,
            responses={404: {"description": "Unknown file", "content": ERROR_CONTENT}},
        )
        router.add_api_route("/languages", self.languages, response_model=list[LanguageOut])
        router.add_api_route("/frontend/settings", self.settings)
        router.add_api_route("/health", self.health)
        router.add_api_route("/health", self.health, methods=["HEAD"], include_in_schema=False)

    async def translate(self, request: Request) -> Response:
        """Translate a text, or a list of texts."""
        parameters = await _read(TranslateRequest, request)
        texts = [parameters.q] if isinstance(parameters.q, str) else parameters.q
        list_texts(texts)
        service = self._service
        async with service.admit(request, parameters.api_key):
            service.check_length(sum(map(len, texts)), service.limits.max_chars)
            source, detected = self._source(parameters.source, texts)
            model = self._models.of_pair(source, parameters.target)
            if parameters.format == "html":
                work = service.translate_markup(model, texts)
            else:
                work = service.translate_texts(model, texts, parameters.alternatives)
            found = await unless_disconnected(request, work)
        answer: dict[str, Any] = {"translatedText": [best for best, *_ in found]}
        if parameters.alternatives:
            answer["alternatives"] = [others for _, *others in found]
        if detected is not None:
            answer["detectedLanguage"] = [detected.model_dump()] * len(texts)
        if isinstance(parameters.q, str):
            answer = {name: values[0] for name, values in answer.items()}
        return JSONResponse(answer)  # of `Translated`, without the time to validate it

    async def detect(self, request: Request) -> list[Detection]:
        """Detect the language of a text."""
        parameters = await _read(DetectRequest, request)
        list_texts(parameters.q)
        async with self._service.admit(request, parameters.api_key):
            self._service.check_length(len(parameters.q), self._service.limits.max_chars)
            found = detect(parameters.q, self._models.sources)
        return [Detection(confidence=share, language=code) for code, share in found]

    async def translate_file(self, request: Request) -> dict[str, str]:
        """Translate a text or an HTML file, and return the address of the translation."""
        service = self._service
        if not request.headers.get("content-type", "").startswith("multipart/"):
            raise Refusal(400, "Invalid request: missing file parameter")
        async with request.form(max_files=1) as form:
            parameters = _validated(
                FileRequest, {k: v for k, v in form.items() if isinstance(v, str)}
            )
            file = form.get("file")
            if file is None or isinstance(file, str):
                raise Refusal(400, "Invalid request: missing file parameter")
            suffix = PurePath(file.filename or "").suffix.lower() or ".txt"
            content = await file.read()
        if suffix not in FILE_FORMATS:
            raise Refusal(400, "Invalid request: file format not supported")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Refusal(400, "Invalid request: the file is not UTF-8") from None
        async with service.admit(request, parameters.api_key):
            limit = service.limits.max_document_chars
            # The time of Python's parser is quadratic for some broken markup.
            service.check_length(len(text), limit if suffix == ".txt" else min(limit, MAX_HTML))
            source, _ = self._source(parameters.source, [text[: service.limits.max_chars]])
            model = self._models.of_pair(source, parameters.target)
            translate = service.translate_texts if suffix == ".txt" else service.translate_markup
            ((translation, *_),) = await unless_disconnected(request, translate(model, [text]))
        name = f"{secrets.token_urlsafe(16)}{suffix}"
        self._files[name] = translation
        while len(self._files) > 1 and sum(map(len, self._files.values())) > MAX_KEPT_CHARS:
            self._files.pop(next(iter(self._files)))
        return {"translatedFileUrl": str(request.url_for("download", name=name))}

    async def download_file(self, name: str) -> PlainTextResponse:
        """Return a translated file, unless newer files have displaced it."""
        if name not in self._files:
            raise Refusal(404, "the file does not exist any longer; translate it again")
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return PlainTextResponse(self._files[name], headers=headers)

    async def languages(self) -> list[dict[str, object]]:
        """Return the languages, with the targets of each."""
        return self._models.languages()

    async def settings(self) -> dict[str, Any]:
        """Return the settings that a user interface needs."""
        model = next(iter(self._models))
        pair = (("source", model.source), ("target", model.target))
        return {
            "charLimit": self._service.limits.max_chars,
            "frontendTimeout": 500,
            "apiKeys": self._service.keys is not None,
            "keyRequired": self._service.keys is not None,
            "suggestions": False,
            "filesTranslation": True,
            "supportedFilesFormat": list(FILE_FORMATS),
            "language": {side: {"code": c, "name": language_name(c)} for side, c in pair},
        }

    async def health(self) -> dict[str, str]:
        """Return that the service runs."""
        return {"status": "ok"}

    def _source(self, source: str, texts: list[str]) -> tuple[str, Detection | None]:
        """Return the source language of a request, and the detection if it is `auto`."""
        sources = self._models.sources
        if source != AUTO:
            return source, None
        found = detect(" ".join(texts), sources)
        code, confidence = next((one for one in found if one[0] in sources), (sources[0], 0.0))
        if len(sources) > 1 and confidence <= 50:
            raise Refusal(400, "the source language is not clear; give it instead of auto")
        return code, Detection(confidence=confidence, language=code)

    def _schema(self, kind: type[BaseModel]) -> dict[str, Any]:
        """Return the schema of parameters with the loaded languages."""
        schema = kind.model_json_schema()
        schema["properties"]["source"]["enum"] = [AUTO, *self._models.sources]
        schema["properties"]["target"]["enum"] = self._models.targets
        return schema


def _body(schema: dict[str, Any], *kinds: str) -> dict[str, Any]:
    """Return the part of OpenAPI that describes a body, by default in JSON or as a form."""
    kinds = kinds or ("application/json", "application/x-www-form-urlencoded")
    content = {kind: {"schema": schema} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


async def _read(expected: type[Model], request: Request) -> Model:
    """Return the parameters of a request from its query and its body."""
    query = dict(request.query_params)
    kind = request.headers.get("content-type", "")
    if "json" in kind:
        try:
            given = await request.json()
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise Refusal(400, "Invalid JSON format")
        return _validated(expected, query | given, strict=not query)
    if kind.startswith("multipart/"):
        async with request.form() as form:
            values = {name: one for name, one in form.items() if isinstance(one, str)}
    else:
        # Not `request.form`, which reads text that is not escaped as Latin-1.
        body = (await request.body()).decode("utf-8", "replace")
        values = dict(parse_qsl(body, keep_blank_values=True))
    # Forms convert all line ends of a text to CRLF.
    values = {name: value.replace("\r\n", "\n") for name, value in values.items()}
    return _validated(expected, query | values)


def _validated(kind: type[Model], given: Mapping[str, Any], *, strict: bool = False) -> Model:
    """Validate parameters; raises Refusal with a message of LibreTranslate."""
    try:
        return kind.model_validate(given, strict=strict)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
    value = given.get(name)
    if value in (None, "", []):
        message = f"Invalid request: missing {name} parameter"
    elif name == "format":
        message = f"{value} format is not supported"
    elif name == "alternatives":
        message = "Invalid request: alternatives parameter is not a number"
        if isinstance(value, (int, float)) or str(value).lstrip("-").isdecimal():
            message = f"Invalid request: alternatives must be from 0 to {MAX_ALTERNATIVES}"
    else:
        message = f"Invalid request: {name}: {first['msg']}"
    raise Refusal(400, message)
