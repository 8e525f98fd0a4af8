"""Attention as a page to move over: one HTML file that loads nothing from elsewhere."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from nmt.evaluation.overlays import DARK, Overlay

SIDE = 320  # pixels of a picture's longer side at most
PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: 30 100 220; }}
body {{ font: 1rem/1.8 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; }}
body {{ padding: 0 1rem; }}
section {{ border-top: 1px solid #8886; padding: 1rem 0; overflow-x: auto; }}
p {{ margin: .2rem 0; }}
span {{ padding: .1em .25em; border-radius: .2em; background: rgb(var(--ink) / var(--w, 0)); }}
.target span {{ cursor: pointer; }}
.target span:hover, .target span:focus {{ outline: 2px solid rgb(var(--ink)); }}
table {{ border-collapse: collapse; margin-top: .6rem; font-size: .75rem; line-height: 1.2; }}
td {{ width: 1.3em; height: 1.3em; border: 1px solid #8883; }}
td {{ background: rgb(var(--ink) / var(--w, 0)); }}
th {{ font-weight: normal; text-align: end; padding: 0 .4em; white-space: nowrap; }}
thead th {{ writing-mode: vertical-rl; transform: rotate(180deg); text-align: start; }}
thead th {{ padding: .4em 0; }}
tr.on th {{ font-weight: bold; }}
.picture {{ display: grid; width: 20rem; background-size: 100% 100%; image-rendering: pixelated; }}
.picture span {{ padding: 0; border-radius: 0; }}
.picture span {{ background: rgb(0 0 0 / calc({cover} * (1 - var(--w, 1)))); }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Point at a target word: what it read of the source is marked by its weight.</p>
{sections}
<script>
for (const section of document.querySelectorAll("section")) {{
  const source = section.querySelectorAll(".source span");
  const rows = section.querySelectorAll("tbody tr");
  section.querySelectorAll(".target span").forEach((word, t) => {{
    const show = () => {{
      const weights = word.dataset.weights.split(" ");
      source.forEach((s, i) => s.style.setProperty("--w", weights[i]));
      rows.forEach((row, i) => row.classList.toggle("on", i === t));
    }};
    word.addEventListener("mouseenter", show);
    word.addEventListener("focus", show);
  }});
}}
</script>
</body>
</html>
"""


class Entry(NamedTuple):
    """A sentence, its translation and the weights between them; a word a column and a row."""

    source: Sequence[str]
    target: Sequence[str]
    weights_ts: Float[Tensor, "t s"]


def write_attention_page(
    entries: Iterable[Entry | Overlay], path: str | PathLike[str], title: str = "Attention"
) -> None:
    """Writes a page that shows, for the target word pointed at, what was read of the source.

    Each sentence has a small matrix of its weights below; a picture goes dark where the word did
    not look. Texts are escaped, so a sentence of HTML is shown and does nothing.
    """
    sections = "\n".join(
        _pictured(entry) if isinstance(entry, Overlay) else _section(*entry) for entry in entries
    )
    page = PAGE.format(title=escape(title), sections=sections, cover=1 - DARK)
    Path(path).write_text(page, encoding="utf-8")


def _section(source: Sequence[str], target: Sequence[str], weights_ts: Tensor) -> str:
    assert tuple(weights_ts.shape) == (len(target), len(source))
    rows = [[f"{weight:.3f}" for weight in row] for row in weights_ts.tolist()]
    words = [escape(word) for word in target]
    heads = [escape(word) for word in source]
    reading = " ".join(f"<span>{head}</span>" for head in heads)
    written = _written(words, rows)
    top = "".join(f"<th>{head}</th>" for head in heads)
    body = "\n".join(
        f"<tr><th>{word}</th>"
        + "".join(f'<td style="--w:{weight}" title="{weight}"></td>' for weight in row)
        + "</tr>"
        for word, row in zip(words, rows, strict=True)
    )
    return (
        f'<section>\n<p class="source" dir="auto">{reading}</p>\n'
        f'<p class="target" dir="auto">{written}</p>\n'
        f"<table><thead><tr><th></th>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n</section>"
    )


def _written(words: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Target words that know their weights; both are escaped already."""
    return " ".join(
        f'<span tabindex="0" data-weights="{" ".join(row)}">{word}</span>'
        for word, row in zip(words, rows, strict=True)
    )


def _pictured(overlay: Overlay) -> str:
    """A picture under a cell for each of its places; weights are shares of a word's greatest."""
    height, width, _ = overlay.picture.shape
    places = overlay.grid[0] * overlay.grid[1]
    rows = [
        [f"{weight / (max(row) or 1):.3f}" for weight in row] for row in overlay.weights_ts.tolist()
    ]
    image, stream = Image.fromarray(overlay.picture), BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(stream, "PNG")
    style = (
        f"grid-template-columns: repeat({overlay.grid[1]}, 1fr); "
        f"aspect-ratio: {width} / {height}; "
        f"background-image: url(data:image/png;base64,{b64encode(stream.getvalue()).decode()})"
    )
    return (
        f'<section>\n<div class="source picture" style="{style}">{"<span></span>" * places}</div>\n'
        f'<p class="target" dir="auto">{_written([escape(w) for w in overlay.words], rows)}</p>\n'
        "</section>"
    )
