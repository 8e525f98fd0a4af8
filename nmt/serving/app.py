"""The application: routes, errors, metrics and cross-origin requests."""

import time
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nmt.errors import UserError
from nmt.serving.libre import Libre
from nmt.serving.limits import Refusal
from nmt.serving.metrics import Metrics
from nmt.serving.page import page_router
from nmt.serving.service import Service
from nmt.serving.v1 import V1
from nmt.version import VERSION

BYTES_PER_CHAR = 12  # of a character beyond U+FFFF in JSON and in a form
OTHER_BYTES = 1 << 16
DOCUMENT_PATHS = ("/v1/translate", "/translate_file")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_app(service: Service, origins: Sequence[str] = ()) -> FastAPI:
    """Return the application of a service.

    Args:
        service: service with loaded models
        origins: origins of pages whose scripts may use the service; * for all
    """
    # The page of the interfaces, /docs, works without a connection to the Internet.
    app = FastAPIOffline(
        redoc_url=None,
        title="nmt-serve",
        version=VERSION,
        description="Translation by attention models, with the API of LibreTranslate.",
    )
    app.include_router(Libre(service).router)
    app.include_router(V1(service).router)
    app.include_router(page_router())
    app.add_api_route("/metrics", _metrics_route(service.metrics), include_in_schema=False)
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(_Guard, service=service)
    return app


def _error(status: int, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    wait = error.retry_after
    headers = None if wait is None else {"Retry-After": str(wait)}
    return _error(error.status, error.message, headers)


async def _user_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    return _error(400, "; ".join(error.lines))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [(".".join(map(str, one["loc"][1:])), one["msg"]) for one in error.errors()]
    return _error(422, "; ".join(f"{name}: {text}" if name else text for name, text in found))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, str(error.detail), error.headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    return _error(500, "internal error; see the log of the service")


def _metrics_route(metrics: Metrics) -> Any:
    async def show() -> Response:
        return Response(metrics.text(), media_type=METRICS_TYPE)

    return show


class _Guard:
    """Middleware that bounds the bodies of requests, and reports their status and time."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._metrics = app, service.metrics
        limits = service.limits
        self._max_bytes, self._max_document_bytes = (
            BYTES_PER_CHAR * chars + OTHER_BYTES
            for chars in (limits.max_chars, limits.max_document_chars)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start, status, received = time.perf_counter(), 500, 0
        is_document = scope["path"] in DOCUMENT_PATHS
        limit = self._max_document_bytes if is_document else self._max_bytes

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise Refusal(413, f"Invalid request: request exceeds {limit} bytes")
            return message

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive_bounded, send_watched)
        finally:
            # The route, because the number of different URLs is unlimited.
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.observe_request(path, status, time.perf_counter() - start)
