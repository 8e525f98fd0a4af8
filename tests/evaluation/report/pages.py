"""Translations for reports, and the content of a page."""

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch

from nmt.data.vocabulary import Span
from nmt.search.translation import Translation


def spans_of_words(text: str) -> tuple[Span, ...]:
    return tuple(match.span() for match in re.finditer(r"\S+", text))


def attended(source: str, target: str, weights: list[list[float]], **options: Any) -> Translation:
    """A translation whose pieces are its words."""
    pieces = tuple(f"▁{word}" for word in target.split())
    return Translation(
        source,
        target,
        -0.5,
        source_pieces=tuple(f"▁{word}" for word in source.split()),
        pieces=pieces,
        piece_scores=(-0.1,) * len(weights),
        attention=torch.tensor(weights),
        source_spans=spans_of_words(source),
        spans=spans_of_words(target),
        **options,
    )


def decompress(block: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(block)))


class Page(HTMLParser):
    """Tags with their attributes, and the texts of elements by class, or by tag without one."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: str | None = None
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = dict(attrs).get("class") or tag
        self.texts.setdefault(self.open, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = None

    def handle_data(self, data: str) -> None:
        if self.open is not None:
            self.texts[self.open][-1] += data

    @property
    def policy(self) -> str:
        return next(str(a["content"]) for _, a in self.tags if "http-equiv" in a)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for block in self.texts["index"] for row in decompress(block)]

    @property
    def details(self) -> list[dict[str, Any]]:
        return [one for block in self.texts["part"] for one in decompress(block)]
