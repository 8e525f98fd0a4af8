"""Examination of the parts of a text: faults per pair, faults of whole parts, and a report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nmt.data.examination.faults import (
    FAULTS,
    MAX_REMOVED_SHARE,
    Mask,
    find_faults,
    find_leaks,
    length_ratio,
)
from nmt.data.examination.measurements import Measurements, measure
from nmt.data.examination.shift import find_shift
from nmt.data.languages import SCRIPT_OF_LANGUAGE, TOGETHER, language_code
from nmt.data.readers.pair_text import NumberedPairs
from nmt.errors import UserError

Text = TypeVar("Text", bound=NumberedPairs)

MAX_EXAMPLES = 3
# Shares of faulty pairs that --check warns about; fewer are normal in real text.
NOTABLE_SHARE = {"duplicate": 0.1, "normalization": 0.01, "identical": 0.02, "shared side": 0.05}
DEFAULT_NOTABLE_SHARE = 0.005
# Share of single lines in another language; similar languages are often confused.
MAX_OTHER_LANGUAGE = 0.05


@dataclass
class Examination(Generic[Text]):
    """The examined pairs of one part.

    Attributes:
        name: train, valid or test
        text: the pairs
        measured: their measurements
        faults: which pairs have each fault
        warnings: faults of the whole part
    """

    name: str
    text: Text
    measured: Measurements
    faults: dict[str, Mask]
    warnings: list[str] = field(default_factory=list)

    def examples(self, mask: Mask) -> list[str]:
        """Return the locations of the first pairs of a mask."""
        rows = np.flatnonzero(mask)[:MAX_EXAMPLES].tolist()
        return [self.text.location(row, int(self.measured.numbers[row])) for row in rows]


def examine(
    parts: Mapping[str, Text],
    languages: tuple[str | None, str | None] = (None, None),
    *,
    identify_languages: bool = True,
) -> dict[str, Examination[Text]]:
    """Read all parts once and examine them.

    Args:
        parts: the parts by name; the one named train comes first
        languages: codes of source and target that the user or the file names have given
        identify_languages: whether to identify languages that the script does not determine, which
            takes seconds

    Raises:
        UserError: if a part cannot be read or has no pairs
    """
    found: dict[str, Examination[Text]] = {}
    for name, text in parts.items():
        measured = measure(text.pairs(), identify_languages=identify_languages)
        if not len(measured):
            raise UserError("has no sentence pairs; give a file with text", text.name)
        found[name] = Examination(name, text, measured, find_faults(measured))
    for name, one in found.items():
        others = {other: part.measured for other, part in found.items() if other != name}
        one.faults |= find_leaks(one.measured, others)
    for one in found.values():
        one.warnings += [*_shift_warnings(one), *_language_warnings(one, languages)]
    return found


def _shift_warnings(one: Examination[Any]) -> Iterator[str]:
    shift = find_shift(one.measured)
    if shift is None:
        return
    side = "late" if shift.lag > 0 else "early"
    lines = "line" if abs(shift.lag) == 1 else "lines"
    location = one.text.location(shift.first, int(one.measured.numbers[shift.first]))
    yield (
        f"the target is {abs(shift.lag)} {lines} {side} from about {location} on: lengths and "
        "question marks fit the neighboring line better; align the files"
    )


def _language_warnings(
    one: Examination[Any], languages: tuple[str | None, str | None]
) -> Iterator[str]:
    codes = [None if code is None else language_code(code) for code in languages]
    found = one.measured.languages
    for side, code, other, language in zip(
        ("source", "target"), codes, codes[::-1], found, strict=True
    ):
        expected = SCRIPT_OF_LANGUAGE.get(code or "")
        if expected and language.scripts and not _writes(expected, language.scripts):
            scripts = " and ".join(language.scripts).lower()
            remedy = "exchange the files" if other and _is(other, language.scripts) else "check it"
            message = f"the {side} ({code}) is written in {scripts} letters, not {expected.lower()}"
            yield f"{message}; {remedy}"
        elif code and language.code not in (None, code):
            yield f"the {side} is named {code}, but its lines are mostly {language.code}; check it"
        elif language.other_share > MAX_OTHER_LANGUAGE:
            share = f"about {100 * language.other_share:.0f} % of the long {side} lines"
            yield f"{share} are {language.other}, not {language.code}; check the text"


def _writes(script: str, found: tuple[str, ...]) -> bool:
    return not TOGETHER.get(script, frozenset({script})).isdisjoint(found[:2])


def _is(code: str, scripts: tuple[str, ...]) -> bool:
    script = SCRIPT_OF_LANGUAGE.get(code)
    return script is not None and _writes(script, scripts)


def report(one: Examination[Any]) -> list[tuple[str, str]]:
    """Return the report on a part as rows of a name and a text."""
    measured = one.measured
    rows = [(one.name, f"{len(measured):,} pairs")]
    for side, language, characters, words in zip(
        ("source", "target"),
        measured.languages,
        measured.characters.T,
        measured.words.T,
        strict=True,
    ):
        letters = " and ".join(language.scripts).lower() or "no"
        name = language.code or f"{letters} letters"
        rows.append((f"  {side}", f"{name}; {_lengths(characters, words)}"))
    rows.append(("  length ratio", _ratios(measured.characters)))
    sources, targets = (len(np.unique(side)) for side in measured.hashes.T)
    rows.append(("  different", f"{sources:,} sources, {targets:,} targets"))
    for name, mask in one.faults.items():
        rows.append((f"  {name}", f"{count_and_share(mask)}: {FAULTS[name].meaning}"))
        rows.append(("", f"for example {', '.join(one.examples(mask))}"))
    rows += [("  warning", warning) for warning in one.warnings]
    return rows


def warnings(one: Examination[Any]) -> list[str]:
    """Return warnings about a part, for `nmt-train --check`."""
    found = list(one.warnings)
    for name, mask in one.faults.items():
        limit = NOTABLE_SHARE.get(name, DEFAULT_NOTABLE_SHARE)
        # Only the share of the validation text that training has seen is of interest.
        if mask.mean() < limit or (one.name == "train" and name in ("leak", "shared side")):
            continue
        if name == "identical" and mask.mean() > MAX_REMOVED_SHARE:
            continue  # a copy task
        examples = ", ".join(one.examples(mask))
        meaning = FAULTS[name].meaning
        found.append(f"{one.name}: {count_and_share(mask)} {name}: {meaning}, as in {examples}")
    return found


def count_and_share(mask: Mask) -> str:
    """Return the number and the share of pairs in words."""
    count = int(mask.sum())
    share = 100 * float(mask.mean())
    shown = f"{share:.0f}" if share >= 10 else f"{share:.2g}"
    return f"{count:,} {'pair' if count == 1 else 'pairs'} ({shown} %)"


def _lengths(characters: NDArray[np.int32], words: NDArray[np.int32]) -> str:
    median, high = np.percentile(characters, [50, 99])
    return (
        f"characters: median {median:.0f}, 99 % up to {high:.0f}, longest {characters.max():,}; "
        f"words: median {np.median(words):.0f}, longest {words.max():,}"
    )


def _ratios(characters: NDArray[np.int32]) -> str:
    usable = characters[(characters > 0).all(axis=1)].astype(np.float64)
    if not len(usable):
        return "none"
    low, high = np.percentile(usable[:, 1] / usable[:, 0], [5, 95])
    ratio = length_ratio(characters)
    return (
        f"{ratio:.2f} target characters per source character; 90 % within {low:.2f} to {high:.2f}"
    )
