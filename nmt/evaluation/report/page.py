"""The HTML page of an attention report, rendered from the files in `assets`."""

import base64
import html
import json
import re
import zlib
from collections.abc import Sequence
from functools import cache

from nmt.evaluation.offline_page import read_asset, render_offline
from nmt.evaluation.report.sentence import LEVELS, detail, summarize
from nmt.search.translation import Translation

PACKAGE = "nmt.evaluation.report"
SCRIPTS = ("drawing.js", "tree.js", "report.js")
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
    return render_offline(
        PACKAGE,
        "report.html",
        read_asset(PACKAGE, "report.css"),
        _script(),
        loads_parts=directory is not None,
        title=title,
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
def _script() -> str:
    """Return all scripts as one module: imports between them are removed."""
    text = "".join(read_asset(PACKAGE, name) for name in SCRIPTS)
    return re.sub(r'^import [^;]* from "\./[^;]*";\n', "", text, flags=re.MULTILINE)
