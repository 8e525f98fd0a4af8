"""The HTML page of an attention report, rendered from the files in `assets`."""

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from nmt.evaluation.report.sentence import LEVELS, detail, summarize
from nmt.search.translation import Translation

SCRIPTS = ("drawing.js", "report.js")
MAX_FRAME_PIXELS = 900


def render_page(
    title: str,
    index: Sequence[str],
    parts: Sequence[str],
    *,
    part_sentences: int,
    directory: str | None = None,
) -> str:
    """Return a page that loads nothing from the network, under a Content-Security-Policy.

    Args:
        title: title of the page
        index: rows of the list, in blocks from `compress`
        parts: details of the sentences, in blocks of `part_sentences` from `compress`
        part_sentences: number of sentences per part
        directory: name of the directory that contains the parts; None if they are in the page
    """
    style, script = _asset("report.css"), _script()
    # 'strict-dynamic' lets the script load its parts, and nothing else.
    sources = f"'{_hash(script)}'" + " 'strict-dynamic'" * (directory is not None)
    policy = (
        f"default-src 'none'; script-src {sources}; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return _template().render(
        title=title,
        policy=policy,
        # The browser compares their hashes, so they must not be escaped.
        style=Markup(style),
        script=Markup(script),
        index=index,
        parts=parts,
        settings=json.dumps(
            {"levels": LEVELS, "partSentences": part_sentences, "directory": directory}
        ),
    )


def render_frame(translation: Translation) -> str:
    """Return the page of one translation as a frame for a notebook, below the texts themselves.

    A notebook that is not trusted, and a preview of it, shows the texts alone.
    """
    best, *others = [one.text for one in translation.n_best] or [translation.text]
    rows = [("source", translation.source), ("translation", best)]
    rows += [(str(number), text) for number, text in enumerate(others, start=2)]
    texts = "".join(
        f'<tr><th style="text-align: end; font-weight: normal">{name}</th>'
        f'<td dir="auto" style="text-align: start">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    if translation.attention is None or not translation.pieces:
        return f"<table>{texts}</table>"
    content = detail(translation, {"attention": translation})
    page = render_page(
        translation.text,
        [compress([summarize(0, translation)])],
        [compress([content])],
        part_sentences=1,
    )
    longest = max(len(level["target"]) for level in content["targets"][0]["levels"].values())
    height = min(420 + 24 * longest, MAX_FRAME_PIXELS)
    return (
        f"<table>{texts}</table>"
        f'<iframe title="attention" sandbox="allow-scripts allow-downloads" width="100%" '
        f'height="{height}" style="border: 0" srcdoc="{html.escape(page)}"></iframe>'
    )


def compress(content: object) -> str:
    """Return a JSON value, compressed by zlib and encoded in base64."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode("utf-8"))).decode("ascii")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("nmt.evaluation.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("report.html")


@cache
def _script() -> str:
    """Return all scripts as one module: imports between them are removed."""
    text = "".join(map(_asset, SCRIPTS))
    return re.sub(r'^import [^;]* from "\./[^;]*";\n', "", text, flags=re.MULTILINE)


def _asset(name: str) -> str:
    return files("nmt.evaluation.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
