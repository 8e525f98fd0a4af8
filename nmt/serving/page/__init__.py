"""The browser page of the service: interactive translation, without a build step."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
NAMES = ("index.html", "page.css", "page.js", "api.js", "view.js", "sentence.js")
# Its drawings are those of the attention report.
FILES = {**dict.fromkeys(NAMES, "serving/page"), "drawing.js": "evaluation/report/assets"}
HEADERS = {
    # Scripts and styles of this service alone, and no frame of another page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asks whether the file has changed
}


def page_router() -> APIRouter:
    """Return the routes of the page: `/` and its files below `/page/`."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", _index, methods=["GET", "HEAD"])
    router.add_api_route("/page/{name}", _file, methods=["GET", "HEAD"])
    return router


async def _index(request: Request) -> Response:
    return _answer("index.html", request)


async def _file(name: str, request: Request) -> Response:
    if name not in FILES:
        raise HTTPException(404, "Not Found")
    return _answer(name, request)


def _answer(name: str, request: Request) -> Response:
    content, tag = _read(name)
    headers = {**HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=TYPES[name[name.index(".") :]], headers=headers)


@cache
def _read(name: str) -> tuple[bytes, str]:
    """Return the content of a file and its entity tag."""
    content = files("nmt").joinpath(FILES[name], name).read_bytes()
    return content, f'"{sha256(content).hexdigest()[:16]}"'
