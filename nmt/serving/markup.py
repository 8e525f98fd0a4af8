"""Translation of HTML with its markup in place.

Text between block elements is translated by whole sentences. Inline elements, such as links and
bold words, are then put around the words of the translation that are aligned to theirs, each of
them once and properly nested. Scripts, code and elements with `translate="no"` stay as they are.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from nmt.serving.segments import split_sentences

# Names of elements, between spaces.
INLINE = (
    " a abbr acronym b bdi bdo big cite del dfn em font i img ins label mark q s small span strike "
    "strong sub sup time tt u wbr "
)
VOID = " area base br col embed hr img input link meta source track wbr "
UNTRANSLATED = " script style pre textarea svg math code kbd samp var "
UNTRANSLATED_INLINE = " code kbd samp var math "
MAX_DEPTH = 50  # nested inline elements
MAX_ELEMENTS = 500  # of a block
MAX_BLOCK_CHARS = 20_000
WORD = re.compile(r"\S+")
SPACES = {ord(character): " " for character in "\n\r\t\f"}


@dataclass
class _Element:
    """An inline element, or raw markup without text, at characters of the text of a block."""

    opening: str
    start: int
    end: int = 0
    closing: str = ""
    tag: str = ""
    children: list["_Element"] = field(default_factory=list)


class _Block:
    """Text between two block elements, with inline elements at its characters."""

    def __init__(self) -> None:
        self.text = self.raw = ""
        self.root = _Element("", 0)
        self.open = [self.root]
        self._pieces: list[str] = []
        self._length = self._count = 0

    @property
    def is_full(self) -> bool:
        """Return whether the block has to end at the next tag, which bounds the time."""
        is_deep = len(self.open) > MAX_DEPTH or self._count >= MAX_ELEMENTS
        return is_deep or self._length > MAX_BLOCK_CHARS

    def add_text(self, text: str) -> None:
        self._pieces.append(text)
        self._length += len(text)

    def add_raw(self, raw: str) -> None:
        self._count += 1
        self.open[-1].children.append(_Element(raw, self._length, self._length))

    def begin(self, raw: str, tag: str) -> None:
        self._count += 1
        element = _Element(raw, self._length, tag=tag)
        self.open[-1].children.append(element)
        self.open.append(element)

    def end(self, tag: str) -> None:
        """Close the innermost element of this name, and those inside; keep a tag without one."""
        if all(one.tag != tag for one in self.open):
            return self.add_raw(f"</{tag}>")
        while True:
            element = self.open.pop()
            element.end = self._length
            if element.tag == tag:
                element.closing = f"</{tag}>"
                return None

    def finish(self) -> None:
        self.raw = "".join(self._pieces)
        self.text = self.raw.translate(SPACES)
        for element in self.open:
            element.end = self._length


class MarkupText(HTMLParser):
    """A text with markup, divided into sentences.

    Args:
        text: HTML, also a part of a page
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self._parts: list[str | _Block] = [_Block()]
        self._skipped, self._depth, self._raw = "", 0, list[str]()
        self.feed(text)
        self.close()
        if self.rawdata:  # behind a script that has no end tag
            self.handle_data(self.rawdata)
        if self._depth:  # without its end tag
            self._depth = 0
            self._add("".join(self._raw), inline=False)
        for part in self._parts:
            if isinstance(part, _Block):
                part.finish()

    def sentences(self) -> Iterator[str]:
        """Yield all sentences."""
        for part in self._parts:
            if isinstance(part, _Block):
                yield from (one.text for one in split_sentences(part.text) if one.text)

    def render(self, translations: Iterator[dict[str, Any]]) -> str:
        """Return the text with translations, which have the fields of `--jsonl`."""
        return "".join(
            part if isinstance(part, str) else _render(part, translations) for part in self._parts
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = self.get_starttag_text() or ""
        if self._depth:
            self._raw.append(raw)
            self._depth += tag == self._skipped
        elif not _is(tag, VOID) and _is_untranslated(tag, dict(attrs)):
            self._skipped, self._depth, self._raw = tag, 1, [raw]
        elif _is(tag, VOID) or not _is(tag, INLINE) or self._block.is_full:
            self._add(raw, inline=_is(tag, INLINE))
        else:
            self._block.begin(raw, tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(self.get_starttag_text() or "", inline=_is(tag, INLINE))

    def handle_endtag(self, tag: str) -> None:
        if self._depth:
            self._raw.append(f"</{tag}>")
            self._depth -= tag == self._skipped
            if not self._depth:
                self._add("".join(self._raw), inline=_is(tag, INLINE, UNTRANSLATED_INLINE))
        elif _is(tag, INLINE):
            self._block.end(tag)
        else:
            self._add(f"</{tag}>", inline=False)

    def handle_data(self, data: str) -> None:
        if self._depth:
            self._raw.append(data)
        else:
            self._block.add_text(html.unescape(data))

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self._add(f"<!--{data}-->", inline=True)

    def handle_decl(self, decl: str) -> None:
        self._add(f"<!{decl}>", inline=False)

    def handle_pi(self, data: str) -> None:
        self._add(f"<?{data}>", inline=False)

    def unknown_decl(self, data: str) -> None:
        # Sections of SGML end in "]]>", conditional comments in "]>".
        is_condition = re.match(r"if|else|endif", data, re.I)
        self._add(f"<![{data}]>" if is_condition else f"<![{data}]]>", inline=True)

    @property
    def _block(self) -> _Block:
        if not isinstance(self._parts[-1], _Block):
            self._parts.append(_Block())
        block = self._parts[-1]
        assert isinstance(block, _Block)
        return block

    def _add(self, raw: str, *, inline: bool) -> None:
        if self._depth:
            self._raw.append(raw)
        elif inline and not self._block.is_full:
            self._block.add_raw(raw)
        else:
            self._parts.append(raw)


def _is(tag: str, *names: str) -> bool:
    return any(f" {tag} " in one for one in names)


def _is_untranslated(tag: str, attributes: dict[str, str | None]) -> bool:
    return (
        _is(tag, UNTRANSLATED)
        or attributes.get("translate") == "no"
        or "notranslate" in (attributes.get("class") or "").split()
    )


def _render(block: _Block, translations: Iterator[dict[str, Any]]) -> str:
    """Return a block with its translation and its inline elements."""
    target, position = "", 0
    words: list[tuple[int, int]] = []  # of the target
    links: list[tuple[int, int, int]] = []  # start and end of a source word, number of target word
    gaps: list[tuple[int, int, int]] = []  # start and end of white space, and its start in target
    for before, text in split_sentences(block.text):
        gaps.append((position, position + len(before), len(target)))
        target += block.raw[position : position + len(before)]
        position += len(before)
        if not text:
            continue
        translation = next(translations)
        own = [match.span() for match in WORD.finditer(text)]
        found = [match.span() for match in WORD.finditer(translation["translation"])]
        for source, word in translation["alignment"] or _diagonal(len(own), len(found)):
            start, end = own[source]
            links.append((position + start, position + end, len(words) + word))
        words += [(len(target) + start, len(target) + end) for start, end in found]
        position += len(text)
        target += translation["translation"]
    placement = _Placement(block.text, target, words, links, gaps)
    return placement.write(block.root, 0, len(target))


def _diagonal(source: int, target: int) -> list[tuple[int, int]]:
    """Return links between words of a model without attention."""
    return [(word * source // target, word) for word in range(target)] if source else []


class _Placement:
    """Places of inline elements in a translation.

    Args:
        source: text of a block
        target: its translation
        words: characters of the words of the translation
        links: characters of a source word, and the number of the target word linked to it
        gaps: characters of the white space between sentences, and its first one in the target
    """

    def __init__(
        self,
        source: str,
        target: str,
        words: list[tuple[int, int]],
        links: list[tuple[int, int, int]],
        gaps: list[tuple[int, int, int]],
    ) -> None:
        self._source, self._target = source, target
        self._words, self._links, self._gaps = words, links, gaps

    def write(self, element: _Element, low: int, high: int) -> str:
        """Return characters `low` to `high` of the translation, with the children of an element."""
        wanted = [(*self._range(child), child) for child in element.children]
        written, cursor = "", low
        # Words may change their order, and with them the elements around them.
        for start, end, space, child in sorted(wanted, key=lambda one: one[:2]):
            start = min(max(start, cursor), high)
            end = min(max(end, start), high)
            written += self._text(cursor, start) + child.opening
            written += self.write(child, start, end) + child.closing + space
            cursor = end
        return written + self._text(cursor, high)

    def _range(self, element: _Element) -> tuple[int, int, str]:
        """Return the characters of an element in the translation, and the space behind it."""
        start, end = element.start, element.end
        if start == 0 and end == len(self._source) and end:
            return 0, len(self._target), ""
        inside = [n for first, last, n in self._links if first < end and last > start]
        if start < end and inside:
            return self._words[min(inside)][0], self._words[max(inside)][1], ""
        for first, last, place in self._gaps:
            if first <= start <= last:
                return place + start - first, place + start - first, ""
        attached = [n for _, last, n in self._links if last == start]
        if attached:  # to the word before it
            place = self._words[attached[-1]][1]
            return place, place, ""
        behind = [(first, n) for first, _, n in self._links if first >= start]
        place = self._words[min(behind)[1]][0] if behind else len(self._target)
        return place, place, " " if self._source[start : start + 1] == " " else ""

    def _text(self, start: int, end: int) -> str:
        return html.escape(self._target[start:end], quote=False)
