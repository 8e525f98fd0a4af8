"""Interactive attention as a single HTML file that loads nothing from the network."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from io import BytesIO
from os import PathLike
from pathlib import Path
from string import Template

from nmt.evaluation.overlay import MIN_BRIGHTNESS, AttentionOverlay
from nmt.search.alignment import AttentionMatrix
from nmt.search.translation_html import direction, isolate

MAX_IMAGE_SIDE = 320  # pixels


def write_attention_page(
    attentions: Iterable[AttentionMatrix | AttentionOverlay],
    path: str | PathLike[str],
) -> None:
    """Write a page that shows the attention weights of the target word under the pointer.

    A translation has a matrix of its weights below the text. An image is dark in the regions to
    which the word does not attend. Texts are escaped, so HTML in a sentence is shown as text.
    """
    sections = "\n".join(
        _overlay_section(attention)
        if isinstance(attention, AttentionOverlay)
        else _matrix_section(attention)
        for attention in attentions
    )
    template = files("nmt.evaluation").joinpath("attention_page.html").read_text(encoding="utf-8")
    page = Template(template).substitute(sections=sections, max_darkness=1 - MIN_BRIGHTNESS)
    Path(path).write_text(page, encoding="utf-8")


def write_index(pages: Sequence[tuple[str, str, str]], path: Path) -> None:
    """Write a page with links to the attention pages of many sentences.

    Args:
        pages: file name, source and translation of each
        path: file to write, in the directory of the pages
    """
    items = "\n".join(
        f'<li><a href="{escape(name)}"><bdi>{escape(source)}</bdi></a><br>'
        f"<bdi>{escape(translation)}</bdi></li>"
        for name, source, translation in pages
    )
    page = (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>Attention</title></head>\n'
        f'<body style="font-family: sans-serif">\n<ol start="0">\n{items}\n</ol>\n</body></html>\n'
    )
    path.write_text(page, encoding="utf-8")


def _matrix_section(attention: AttentionMatrix) -> str:
    source, target, weights_ts = attention
    assert tuple(weights_ts.shape) == (len(target), len(source))
    # Three digits are enough for a color, and keep the page small.
    rows = [[f"{weight:.3f}" for weight in row] for row in weights_ts.tolist()]
    source_words, target_words = isolate(source), isolate(target)
    source_direction = direction(source)
    source_spans = " ".join(f"<span>{word}</span>" for word in source_words)
    header = "".join(f"<th>{word}</th>" for word in source_words)
    body = "\n".join(
        f"<tr><th>{word}</th>"
        + "".join(f'<td style="--weight:{weight}" title="{weight}"></td>' for weight in row)
        + "</tr>"
        for word, row in zip(target_words, rows, strict=True)
    )
    return (
        f'<section>\n<p class="source" dir="{source_direction}">{source_spans}</p>\n'
        f"{_target_paragraph(target, rows)}\n"
        # The columns are in the order of the source's words on a line.
        f'<table dir="{source_direction}"><thead><tr><th></th>{header}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table>\n</section>"
    )


def _overlay_section(overlay: AttentionOverlay) -> str:
    """Return an image under a grid of cells; weights are relative to a word's greatest."""
    height, width, _ = overlay.image.shape
    grid_rows, grid_columns = overlay.grid
    rows = [
        [f"{weight / (max(row) or 1):.3f}" for weight in row] for row in overlay.weights_ts.tolist()
    ]
    from PIL import Image  # present where an image was read

    image, stream = Image.fromarray(overlay.image), BytesIO()
    image.thumbnail((MAX_IMAGE_SIDE, MAX_IMAGE_SIDE))
    image.save(stream, "PNG")
    # The image is embedded as a data URI, because the page must not load other files.
    style = (
        f"grid-template-columns: repeat({grid_columns}, 1fr); "
        f"aspect-ratio: {width} / {height}; "
        f"background-image: url(data:image/png;base64,{b64encode(stream.getvalue()).decode()})"
    )
    cells = "<span></span>" * (grid_rows * grid_columns)
    return (
        f'<section>\n<div class="source image" style="{style}">{cells}</div>\n'
        f"{_target_paragraph(overlay.words, rows)}\n</section>"
    )


def _target_paragraph(words: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the target words with their weights as attributes."""
    spans = " ".join(
        f'<span tabindex="0" data-weights="{" ".join(row)}">{word}</span>'
        for word, row in zip(isolate(words), rows, strict=True)
    )
    return f'<p class="target" dir="{direction(words)}">{spans}</p>'
