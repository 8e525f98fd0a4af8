"""Sentences of a text, and the white space between them.

A line feed ends a sentence, and so does punctuation unless the following word begins in lower case
or a full stop marks an abbreviation, an initial or an ordinal number. In doubt, sentences stay
together: half a sentence is worse to translate than two. Only a sentence of more than `MAX_CHARS`
characters is divided further, because the time of search is quadratic in the length.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from nmt.data.text import is_blank

# A mark with closing quotes and brackets and the space behind it; full-width marks need no space.
# Runs are matched from their beginning only, and without backtracking: time is linear.
END = re.compile(
    r"(?<![.!?…؟۔।॥])(?P<marks>[.!?…؟۔।॥]++)[\"'”’»)\]]*+\s++|[。！？｡]++[」』”’）】]*+\s*+"
)
LINES = re.compile(r"[\n\r]+")
# Before a full stop, in lower case; of several European languages.
ABBREVIATIONS = (
    " al approx art bd bspw bzw ca cf co corp dept dr ed eds evtl fig ggf hr inc inkl int jr kap "
    "lt ltd max min mio mme mr mrd mrs ms nr num op pag par pp prof rev sen sig sr sra st str tel "
    "usw vgl vol vs zzgl "
)
MAX_ORDINAL_DIGITS = 2
MAX_CHARS = 500  # of a sentence
PAUSE = re.compile(r"[,;:]\s|[،؛、，；：]\s?")


class Segment(NamedTuple):
    """A sentence.

    Attributes:
        before: white space between it and the previous sentence
        text: the sentence; empty at the end of a text
    """

    before: str
    text: str


def split_sentences(text: str) -> list[Segment]:
    """Divide a text into sentences; joined with the white space before each, they are the text."""
    segments, before, position = list[Segment](), "", 0
    for end in _bounded(text, [*_ends(text), len(text)]):
        part = text[position:end]
        position = end
        sentence = part.strip()
        if is_blank(sentence):
            before += part
            continue
        start = part.index(sentence)
        segments.append(Segment(before + part[:start], sentence))
        before = part[start + len(sentence) :]
    return [*segments, Segment(before, "")] if before else segments


def join_sentences(segments: list[Segment], translations: list[str]) -> str:
    """Return translations with the white space between their sources."""
    texts = iter(translations)
    return "".join(before + (next(texts) if text else "") for before, text in segments)


def _ends(text: str) -> Iterator[int]:
    """Yield the ends of all sentences but the last."""
    start = 0
    for line in [*LINES.finditer(text), None]:
        stop = len(text) if line is None else line.start()
        for end in END.finditer(text, start, stop):
            if end["marks"] is None or not _continues(text, end):
                yield end.end()
        if line is not None:
            start = line.end()
            yield start


def _bounded(text: str, ends: list[int]) -> Iterator[int]:
    """Yield the ends of sentences, and ends inside those of too many characters."""
    start = 0
    for end in ends:
        while end - start > MAX_CHARS:
            low, high = start + MAX_CHARS // 2, start + MAX_CHARS
            pauses = PAUSE.finditer(text, low, high)
            spaces = re.finditer(r"\s", text[low:high])
            start = max((one.end() for one in pauses), default=0) or low + max(
                (one.end() for one in spaces), default=high - low
            )
            yield start
        yield end
        start = end


def _continues(text: str, end: re.Match[str]) -> bool:
    """Return whether a sentence goes on behind a mark and a space."""
    if text[end.end() : end.end() + 1].islower():
        return True
    if end["marks"] != ".":
        return False
    words = text[max(0, end.start() - 40) : end.start()].split()
    word = words[-1].lstrip("\"'“„‚‘«([") if words else ""
    return (
        f" {word.lower()} " in ABBREVIATIONS
        or "." in word  # z.B., e.g., U.S.
        or (len(word) == 1 and word.isalpha())
        or (word.isdecimal() and len(word) <= MAX_ORDINAL_DIGITS)
    )
