"""Translation memories (TMX), parsed as a stream without entities or external files."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any
from xml.parsers import expat

from nmt.data.readers.input_file import BLOCK_BYTES, InputFile
from nmt.data.readers.pair_text import Pair, Reader
from nmt.data.text import MAX_LINE_BYTES
from nmt.errors import UserError, printable

# Elements inside a segment whose content is formatting code of another format.
CODES = frozenset({"bpt", "ept", "it", "ph", "ut"})
SAMPLE_UNITS = 1000
MAX_DEPTH = 64
# Bytes of a tag, which the parser reads again for every block that does not end it.
MAX_TAG_BYTES = 1 << 20
MAX_LISTED = 8
# The first part of a language tag, which becomes the suffix of a file.
LANGUAGE = re.compile(r"[A-Za-z]{1,8}")

Unit = tuple[int, dict[str, str]]
"""Line of a translation unit, and its segments by language."""


class TmxReader(Reader):
    """Segments of two languages in a translation memory.

    Args:
        file: the file
        wanted: codes of source and target; None for the only two, of which that of the header is
            the source

    Raises:
        UserError: if the file is not TMX, or does not have exactly the two languages
    """

    def __init__(self, file: InputFile, wanted: tuple[str, str] | None) -> None:
        self.files = (file,)
        counts = Counter[str]()
        for _, segments in islice(self._units(), SAMPLE_UNITS):
            counts.update(list(segments))
        codes = Counter[str]()
        for code, count in counts.items():
            codes[_primary(code)] += count
        shown = [printable(code) or "(none given)" for code in islice(codes, MAX_LISTED)]
        found = ", ".join(shown) or "none"
        if len(codes) > MAX_LISTED:
            found += f" and {len(codes) - MAX_LISTED} more"
        if wanted is not None:
            missing = [one for one in wanted if _primary(one) not in codes]
            if missing:
                message = f"has no segments in {', '.join(missing)}; its languages are: {found}"
                raise UserError(message, str(file.path))
            self._pair = (_primary(wanted[0]), _primary(wanted[1]))
        elif len(codes) == 2:
            first, second = codes
            is_reversed = _primary(self._source_language) == second
            self._pair = (second, first) if is_reversed else (first, second)
        else:
            message = f"has the languages {found}; select two of them with --languages"
            raise UserError(message, str(file.path))
        source, target = (one if LANGUAGE.fullmatch(one) else None for one in self._pair)
        self.languages = (source, target)

    def pairs(self) -> Iterator[Pair]:
        for line, segments in self._units():
            by_code = {_primary(code): text for code, text in segments.items()}
            source, target = (by_code.get(code, "") for code in self._pair)
            # A unit without one of the two languages is a unit of other languages.
            if source or target:
                yield Pair(line, source, target)

    def _units(self) -> Iterator[Unit]:
        self._source_language = ""
        handler = _Handler(str(self.files[0].path))
        # The parser reads the encoding from the byte order mark or the XML declaration.
        with self.files[0].opener() as stream:
            while block := stream.read(BLOCK_BYTES):
                handler.feed(block)
                self._source_language = handler.source_language
                yield from handler.take()
            handler.finish()
            yield from handler.take()


class _Handler:
    """Translation units from the events of an XML parser."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse_entity
        parser.SkippedEntityHandler = self._refuse_undeclared
        parser.ExternalEntityRefHandler = None  # external files are never opened
        self.source_language = ""
        self._units: list[Unit] = []
        self._elements: list[str] = []
        self._segments: dict[str, str] = {}
        self._language, self._line, self._in_code, self._size = "", 0, 0, 0
        self._fed = 0
        self._segment: list[str] | None = None

    def feed(self, block: bytes) -> None:
        """Parse a block of the file."""
        self._parse(block, False)

    def finish(self) -> None:
        """Parse the end of the file."""
        self._parse(b"", True)

    def take(self) -> list[Unit]:
        """Return the complete units, once."""
        units, self._units = self._units, []
        return units

    def _parse(self, block: bytes, is_end: bool) -> None:
        try:
            self._parser.Parse(block, is_end)
        except UserError:  # of the handlers below
            raise
        except (LookupError, ValueError):
            message = (
                "is in an encoding that is not read; convert text and XML declaration to UTF-8"
            )
            raise UserError(message, self._name) from None
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            location = f"{self._name}:{error.lineno}"
            message = f"is not valid XML: {reason}; export the file again"
            raise UserError(message, location) from None
        self._fed += len(block)
        if self._fed - self._parser.CurrentByteIndex > MAX_TAG_BYTES and not is_end:
            raise self._error(f"has a tag of more than {MAX_TAG_BYTES:,} bytes; give a TMX file")

    def _error(self, message: str) -> UserError:
        return UserError(message, f"{self._name}:{self._parser.CurrentLineNumber}")

    def _refuse_entity(self, *_: Any) -> None:
        # Nested entities expand exponentially, and external ones read other files.
        raise self._error("declares an XML entity, which TMX does not need; remove it")

    def _refuse_undeclared(self, name: str, *_: Any) -> None:
        raise self._error(f"the entity &{name}; is not declared; write its character")

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        if not self._elements and element != "tmx":
            raise self._error(f"begins with <{element}>, not <tmx>; give a TMX file")
        self._elements.append(element)
        if len(self._elements) > MAX_DEPTH:
            raise self._error(f"nests more than {MAX_DEPTH} elements; give a TMX file")
        if element == "header":
            self.source_language = attributes.get("srclang", "")
        elif element == "tu":
            self._segments, self._line = {}, self._parser.CurrentLineNumber
        elif element == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang", "")
        elif element == "seg":
            self._segment, self._size = [], 0
        elif element in CODES:
            self._in_code += 1

    def _end(self, element: str) -> None:
        self._elements.pop()
        if element in CODES:
            self._in_code -= 1
        elif element == "seg" and self._segment is not None:
            # Line breaks and indentation of the file are not part of a sentence.
            self._segments.setdefault(self._language, " ".join("".join(self._segment).split()))
            self._segment = None
        elif element == "tu":
            self._units.append((self._line, self._segments))

    def _text(self, text: str) -> None:
        if self._segment is None or self._in_code:
            return
        self._size += len(text)
        if self._size > MAX_LINE_BYTES:
            raise self._error(f"a segment has more than {MAX_LINE_BYTES:,} characters; split it")
        self._segment.append(text)


def _primary(code: str) -> str:
    """Return the language of a code such as en-US or en_GB, in lower case."""
    return code.replace("_", "-").split("-")[0].lower()
