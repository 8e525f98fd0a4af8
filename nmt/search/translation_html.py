"""A translation as HTML for the output of a notebook, which keeps inline styles but no scripts."""

from collections.abc import Iterable, Sequence
from html import escape
from unicodedata import bidirectional

from nmt.search.alignment import AttentionMatrix

MAX_CELLS = 2500
"""Largest number of weights that are drawn; a larger table makes a notebook slow."""

CELL = "width: 1.5em; min-width: 1.5em; padding: 0; border: 1px solid rgba(128, 128, 128, 0.2)"
ROW_LABEL = "text-align: end; font-weight: normal; padding: 0 0.5em"
COLUMN_LABEL = (
    "writing-mode: vertical-rl; text-orientation: sideways; transform: rotate(180deg); "
    "text-align: start; font-weight: normal; padding: 0.3em 0"
)


def translation_html(
    source: str, translations: Sequence[str], attention: AttentionMatrix | None
) -> str:
    """Return a fragment of HTML: the source, its translations, and a heat map of the attention.

    Args:
        source: the source text
        translations: at least one, the best first
        attention: weights of the best translation; None to draw none
    """
    best, *others = translations
    rows = [("source", source), ("translation", best)]
    rows += [(str(number), text) for number, text in enumerate(others, start=2)]
    texts = "".join(
        f'<tr><th style="{ROW_LABEL}">{name}</th>'
        f'<td dir="auto" style="text-align: start">{escape(text)}</td></tr>'
        for name, text in rows
    )
    fragments = [f"<table>{texts}</table>"]
    if attention is not None:
        fragments.append(_heat_map(attention))
    return f"<div>{''.join(fragments)}</div>"


def _heat_map(attention: AttentionMatrix) -> str:
    """Return a table of the weights: one row per target word, one column per source word."""
    source, target, weights_ts = attention
    if len(source) * len(target) > MAX_CELLS:
        return f"<p>attention: {len(target)} x {len(source)} weights</p>"
    header = "".join(f'<th style="{COLUMN_LABEL}">{word}</th>' for word in isolate(source))
    body = "".join(
        f'<tr><th style="{ROW_LABEL}">{word}</th>'
        + "".join(
            # Not by opacity, which would fade the border as well.
            f'<td title="{weight:.3f}" '
            f'style="{CELL}; background: rgba(30, 100, 220, {weight:.3f})"></td>'
            for weight in row
        )
        + "</tr>"
        for word, row in zip(isolate(target), weights_ts.tolist(), strict=True)
    )
    # The columns are in the order of the source's words on a line.
    return (
        f'<table dir="{direction(source)}" style="border-collapse: collapse">'
        f"<thead><tr><th></th>{header}</tr></thead><tbody>{body}</tbody></table>"
    )


def isolate(words: Iterable[str]) -> list[str]:
    """Escape words, and isolate them so that `</s>` is not mirrored next to a word in Arabic."""
    return [f"<bdi>{escape(word)}</bdi>" for word in words]


def direction(words: Iterable[str]) -> str:
    """Return the direction of a text by its first letter, as `dir="auto"` does without `<bdi>`."""
    directions = map(bidirectional, "".join(words))
    first = next((one for one in directions if one in ("L", "R", "AL")), "L")
    return "ltr" if first == "L" else "rtl"
