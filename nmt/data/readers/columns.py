"""Choice of the two columns of sentences in a table or in records."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from nmt.data.languages import identify, language_code
from nmt.data.table import HEADER_NAMES, Column
from nmt.errors import UserError, printable

SAMPLE_ROWS = 1000
LICENSE = re.compile(
    r"attribution|\bCC[- ]?(?:BY|0)\b|creative ?commons|https?://|tatoeba\.org|licen[sc]e", re.I
)
NUMBER = re.compile(r"[-+#]?[\d.,:/eE%-]*\d[\d.,:/eE%-]*")
SOURCE_NAMES = ("source", "src", "source_text", "source_sentence", "sentence1", "text1")
TARGET_NAMES = (
    *("target", "tgt", "trg", "translation", "target_text", "target_sentence"),
    *("sentence2", "text2"),
)
# Share of the cells of a column that have a property.
MOST = 0.8
MAX_SHOWN = 24
MAX_LISTED = 8


class Columns(NamedTuple):
    """The columns of source and target.

    Attributes:
        indices: their indices, from 0
        languages: codes that the header names; None for an unknown one
    """

    indices: tuple[int, int]
    languages: tuple[str | None, str | None] = (None, None)


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the cells of the first row are names of columns."""
    if len(rows) > 1 and any(map(str.__eq__, rows[0], rows[1])):
        return False  # labels, such as the code of the language of a sentence
    cells = [cell.strip().lower() for cell in rows[0]]
    named = [cell for cell in cells if cell in HEADER_NAMES or language_code(cell) is not None]
    # One word of a sentence may be a name, so two cells must be names.
    return len(named) >= 2 and all(len(cell.split()) <= 3 for cell in cells)


def choose_columns(
    names: Sequence[str] | None,
    rows: Sequence[Sequence[str]],
    *,
    columns: Sequence[Column] | None,
    languages: tuple[str, str] | None,
    location: str,
) -> Columns:
    """Choose the columns of source and target by their names and content.

    Args:
        names: names of the columns, if the file has them
        rows: cells of the first rows
        columns: the columns that the user has selected, by number or name
        languages: the languages that the user has named
        location: name of the file in error messages

    Raises:
        UserError: if the columns are not those of two texts
    """
    width = max(map(len, rows), default=0)
    if columns is not None:
        return _named(names, [_index(one, names, width, location) for one in columns], languages)
    codes = [language_code(name) for name in names or ()]
    if languages is not None:
        wanted = [language_code(one) or one for one in languages]
        listed = [code or name.lower() for code, name in zip(codes, names or (), strict=True)]
        if set(wanted) <= set(listed):
            return Columns((listed.index(wanted[0]), listed.index(wanted[1])), languages)
    lowered = [name.strip().lower() for name in names or ()]
    by_role = [
        next((lowered.index(name) for name in roles if name in lowered), None)
        for roles in (SOURCE_NAMES, TARGET_NAMES)
    ]
    if by_role[0] is not None and by_role[1] is not None:
        return _named(names, [by_role[0], by_role[1]], languages)
    texts = [index for index in range(width) if width == 2 or _is_text(rows, index)]
    with_code = [index for index, code in enumerate(codes) if code is not None and index in texts]
    if len(texts) != 2 and len(with_code) == 2:
        texts = with_code
    if len(texts) != 2:
        shown = "; ".join(_shown(rows, names, index) for index in texts[:MAX_LISTED])
        message = f"has {len(texts)} columns of text, not 2 ({shown or 'no text'})"
        raise UserError(f"{message}; select source and target with --columns", location)
    if languages is not None and _are_reversed(rows, texts, languages):
        texts.reverse()
    return _named(names, texts, languages)


def _named(
    names: Sequence[str] | None, indices: Sequence[int], languages: tuple[str, str] | None
) -> Columns:
    if languages is not None:
        return Columns((indices[0], indices[1]), languages)
    source, target = (language_code(names[index]) if names else None for index in indices)
    return Columns((indices[0], indices[1]), (source, target))


def _index(column: Column, names: Sequence[str] | None, width: int, location: str) -> int:
    if isinstance(column, int):
        if column > width:
            raise UserError(f"no column {column}; the file has {width}", location)
        return column - 1
    if names is None or column not in names:
        listed = ", ".join(names or ()) or "none"
        raise UserError(f"no column '{column}'; the names of the columns are: {listed}", location)
    return list(names).index(column)


def _cells(rows: Sequence[Sequence[str]], index: int) -> list[str]:
    return [row[index] for row in rows if len(row) > index and row[index].strip()]


def _is_text(rows: Sequence[Sequence[str]], index: int) -> bool:
    """Return whether a column has sentences, not numbers, labels or licenses."""
    cells = _cells(rows, index)
    if len(cells) < len(rows) / 2:
        return False
    excluded = sum(bool(LICENSE.search(one) or NUMBER.fullmatch(one.strip())) for one in cells)
    # Codes of languages and names of parts recur.
    is_label = len(cells) >= 20 and len(set(cells)) <= max(3, len(cells) / 20)
    return excluded < MOST * len(cells) and not is_label


def _are_reversed(
    rows: Sequence[Sequence[str]], texts: Sequence[int], languages: tuple[str, str]
) -> bool:
    found = [identify(_cells(rows, index)).code for index in texts]
    wanted = [language_code(one) for one in languages]
    matches = sum(a is not None and a == b for a, b in zip(found, wanted, strict=True))
    reverse = sum(a is not None and a == b for a, b in zip(found, wanted[::-1], strict=True))
    return reverse > matches


def _shown(rows: Sequence[Sequence[str]], names: Sequence[str] | None, index: int) -> str:
    name = f"{index + 1}" if names is None else f"{index + 1} '{names[index]}'"
    return f"{name}: {printable(next(iter(_cells(rows, index)), ''), MAX_SHOWN)}"
