"""Measurements of sentence pairs in one pass: lengths, hashes and properties of each pair."""

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from hashlib import blake2b
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from nmt.data.languages import SAMPLE_LINES, Language, ScriptClasses, identify, scripts_of
from nmt.data.readers.pair_text import Pair
from nmt.data.text import is_blank

# Longest side that is not a fault: about 200 words of English.
MAX_CHARACTERS = 1_000
# Pairs that decide on the scripts of both sides, before the pass over all pairs.
FIRST_PAIRS = 2_000
# Letters of a side below which its script is not judged, such as those of a name.
MIN_LETTERS = 4

# C0, DEL and C1 without tab, the replacement character, private use, and noncharacters.
CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\ufffd\ue000-\uf8ff\ufffe\uffff]")
MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|&(?:[a-z]{2,8}|#\d{2,6}|#x[0-9a-fA-F]{2,6});")
QUESTION_MARKS = ("?", "\uff1f", "\u061f", ";", "\u037e")


class Property(IntFlag):
    """Properties of a pair that are found by reading its lines."""

    EMPTY = 1
    CONTROL = 2
    MARKUP = 4
    LONG = 8
    FOREIGN_SOURCE = 16
    FOREIGN_TARGET = 32
    NOT_NFC = 64
    SOURCE_QUESTION = 128
    TARGET_QUESTION = 256


@dataclass(frozen=True)
class Measurements:
    """Measured properties of all pairs of a text, one row per pair.

    Attributes:
        numbers: number of the pair in its file
        characters, words: lengths of source and target, [pairs, 2]
        hashes: 64-bit hashes of source and target without case and repeated spaces, [pairs, 2]
        properties: `Property` of the pair
        alphabets: characters of source and target, and their numbers of occurrences
        sample: lines of source and target from all parts of the text
        languages: identified languages of source and target
    """

    numbers: NDArray[np.int64]
    characters: NDArray[np.int32]
    words: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    properties: NDArray[np.int32]
    alphabets: tuple[Counter[str], Counter[str]]
    sample: tuple[list[str], list[str]]
    languages: tuple[Language, Language]

    def __len__(self) -> int:
        return len(self.numbers)

    def having(self, flags: int) -> NDArray[np.bool_]:
        """Return which pairs have any of the properties."""
        return (self.properties & flags) != 0

    @property
    def pair_hashes(self) -> NDArray[np.uint64]:
        """Return one hash per pair of both sides in this order."""
        source, target = self.hashes.T
        return source * np.uint64(0x9E3779B97F4A7C15) ^ (target + (source >> np.uint64(29)))


class _Sample:
    """Pairs at regular intervals, which grow with the text."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self._stride, self._count = 1, 0

    def add(self, pair: Pair) -> None:
        if self._count % self._stride == 0:
            self.pairs.append(pair)
            if len(self.pairs) > 2 * SAMPLE_LINES:
                self.pairs, self._stride = self.pairs[::2], 2 * self._stride
        self._count += 1


def measure(pairs: Iterable[Pair], *, identify_languages: bool = True) -> Measurements:
    """Measure all pairs of a text in one pass.

    Args:
        pairs: the text
        identify_languages: whether to identify languages that the script does not determine
    """
    numbers, lengths, words = array("q"), array("i"), array("i")
    hashes, properties = array("Q"), array("i")
    sample, alphabets = _Sample(), (Counter[str](), Counter[str]())
    rest = iter(pairs)
    first = list(islice(rest, FIRST_PAIRS))
    classes = [ScriptClasses(scripts_of(side)) for side in _sides(first)]
    for pair in chain(first, rest):
        sample.add(pair)
        flags, source_key, target_key = _read(pair, classes)
        numbers.append(pair.number)
        lengths.extend((len(pair.source), len(pair.target)))
        words.extend((pair.source.count(" ") + 1, pair.target.count(" ") + 1))
        hashes.extend((hash_text(source_key), hash_text(target_key)))
        properties.append(flags)
        for alphabet, line in zip(alphabets, pair[1:], strict=True):
            alphabet.update(line)
    sides = _sides(sample.pairs)
    return Measurements(
        np.frombuffer(numbers, np.int64),
        np.frombuffer(lengths, np.int32).reshape(-1, 2),
        np.frombuffer(words, np.int32).reshape(-1, 2),
        np.frombuffer(hashes, np.uint64).reshape(-1, 2),
        np.frombuffer(properties, np.int32),
        alphabets,
        sides,
        (
            identify(sides[0], lines=identify_languages),
            identify(sides[1], lines=identify_languages),
        ),
    )


def _sides(pairs: list[Pair]) -> tuple[list[str], list[str]]:
    return [pair.source for pair in pairs], [pair.target for pair in pairs]


def _read(pair: Pair, classes: list[ScriptClasses]) -> tuple[int, str, str]:
    """Return the properties of a pair, and the keys of both sides."""
    _, source, target = pair
    flags = 0
    both = f"{source} {target}"
    # The common case of printable text needs no regular expression.
    if not both.isprintable() and CONTROL.search(both):
        flags |= Property.CONTROL
    if ("<" in both or "&" in both) and MARKUP.search(both):
        flags |= Property.MARKUP
    if len(both) > MAX_CHARACTERS and max(len(source), len(target)) > MAX_CHARACTERS:
        flags |= Property.LONG
    if not both.isascii() and not unicodedata.is_normalized("NFC", both):
        flags |= Property.NOT_NFC
    source_key, target_key = key_of(source), key_of(target)
    if not source_key or not target_key or is_blank(source) or is_blank(target):
        flags |= Property.EMPTY
    if _is_foreign(source, classes[0]):
        flags |= Property.FOREIGN_SOURCE
    if _is_foreign(target, classes[1]):
        flags |= Property.FOREIGN_TARGET
    if source_key.endswith(QUESTION_MARKS):
        flags |= Property.SOURCE_QUESTION
    if target_key.endswith(QUESTION_MARKS):
        flags |= Property.TARGET_QUESTION
    return flags, source_key, target_key


def key_of(line: str) -> str:
    """Return a line without case, repeated spaces and differences of normalization."""
    if not line.isascii():
        line = unicodedata.normalize("NFC", line)
    return " ".join(line.split()).casefold()


def _is_foreign(line: str, classes: ScriptClasses) -> bool:
    """Return whether most letters of a line belong to other scripts than the text's."""
    if line.isascii() and "LATIN" in classes.scripts:
        return False
    letters = line.translate(classes)
    return len(letters) >= MIN_LETTERS and 2 * letters.count("b") > len(letters)


def hash_text(key: str) -> int:
    """Return a 64-bit hash that is the same in every process."""
    # Python's own hash of a string differs from process to process.
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")
