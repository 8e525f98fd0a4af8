"""Tables of sentences: tab-separated (.tsv) and comma-separated (.csv) files.

A .tsv file is plain text between tabs unless its cells are quoted as spreadsheets quote them. A
header row is recognized by the names of its cells.
"""

import csv
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from nmt.data.compression import FORMATS
from nmt.data.text import MAX_LINE_BYTES, decode_lines, open_text, raw_lines
from nmt.errors import UserError

TABLES = (".tsv", ".csv")
# nmt-init reads more formats.
BY_INIT = "; pairs for training also by: nmt-init FILE -o my.yaml"
CONVERSION = f"convert it to a .tsv file or to two text files{BY_INIT}"
# Formats that are not read, with the remedy.
OTHER_FORMATS = {
    ".tmx": f"is a translation memory; {CONVERSION}",
    ".xliff": "is an XLIFF file; convert it to a .tsv file or to two text files",
    ".xlf": "is an XLIFF file; convert it to a .tsv file or to two text files",
    ".xlsx": "is a spreadsheet; export it as .tsv",
    ".ods": "is a spreadsheet; export it as .tsv",
    ".docx": "is a document; save its text with one sentence per line",
    ".json": "is a JSON file; convert it to a .tsv file or to two text files",
    ".jsonl": f"is a JSON file; {CONVERSION}",
    ".parquet": f"is a Parquet file; {CONVERSION}",
    ".zip": f"is an archive; extract its files first{BY_INIT}",
    ".tar": "is an archive; extract its files first",
    ".tgz": "is an archive; extract its files first",
}
# Rows that decide on the delimiter and the quoting of a table.
SAMPLE_ROWS = 200
# Names of columns in the first row of a table, besides the languages of the experiment: source,
# target, text, sentence, translation and names of languages, in common languages.
HEADER_NAMES = frozenset(
    """
    id lang reference sentence sentence1 sentence2 source source_sentence source_text src target
    target_sentence target_text text text1 text2 tgt translation trg original
    quelle ziel satz quelltext zieltext ausgangstext übersetzung cible texte phrase traduction
    fuente origen destino objetivo texto frase oración traducción origine sorgente destinazione
    testo traduzione origem fonte alvo tradução bron doel tekst zin vertaling źródło cel zdanie
    tłumaczenie zdroj cíl věta překlad источник оригинал текст предложение перевод оригінал переклад
    kaynak hedef metin cümle çeviri المصدر الهدف النص الترجمة منبع مقصد متن ترجمه स्रोत लक्ष्य वाक्य
    अनुवाद 原文 译文 譯文 訳文 源 目标 源语言 目标语言 翻译 翻訳 원문 번역문 번역 원본 문장
    arabic العربية chinese chinesisch chinois chino 中文 汉语 漢語 中国語 중국어 czech tschechisch
    čeština dutch niederländisch nederlands english englisch anglais inglés inglese inglês
    английский 英语 英語 英文 영어 french französisch français francés francese francês французский
    法语 フランス語 프랑스어 german deutsch allemand alemán tedesco alemão немецкий 德语 ドイツ語
    독일어 hindi हिन्दी italian italienisch italiano japanese japanisch japonais japonés 日本語 日语
    일본어 korean koreanisch coréen coreano 한국어 韩语 韓国語 persian farsi فارسی polish polnisch
    polski portuguese portugiesisch português russian russisch russe русский spanish spanisch
    español espagnol 西班牙语 스페인어 turkish türkisch türkçe ukrainian українська
    """.split()  # noqa: SIM905 (a list of words)
)

# A cell of a .tsv file and the tab before it; a row of cells of which those with quotes are quoted.
_CELL = r'(?:"(?:[^"]|"")*"|(?!")[^\t]*)'
CELL = re.compile(r'(?:^|\t)(?:(?P<quoted>"(?:[^"]|"")*")|(?!")[^\t]*)')
ROW = re.compile(rf"{_CELL}(?:\t{_CELL})*")

Column = int | str
"""Number of a column, from 1, or its name in the header row."""


def is_table(name: str | Path) -> bool:
    """Return whether a file name is that of a table, compressed or not."""
    stem = str(name)
    for suffix in FORMATS:
        stem = stem.removesuffix(suffix)
    return stem.endswith(TABLES)


def check_format(name: str | Path) -> None:
    """Raise UserError if a file name is that of a format that is not read."""
    remedy = OTHER_FORMATS.get(Path(name).suffix.lower())
    if remedy is not None:
        raise UserError(remedy, str(name))


def check_sentences(name: str | Path, column: Column | None = None, option: str = "") -> None:
    """Raise UserError if a file of sentences is missing or has another format.

    Args:
        name: file name, or `-` for standard input
        column: the column to read from a table
        option: option that selects the column; empty if the command has none
    """
    if str(name) == "-":
        if column is not None:
            raise UserError(f"{option}: requires the name of a file; use cut -f in a pipe")
        return
    check_format(name)
    if column is None and is_table(name):
        remedy = f"select the column of the sentences with {option} 1" if option else "extract it"
        raise UserError(f"is a table, not one sentence per line; {remedy}", str(name))
    check_exists(name)


def check_exists(name: str | Path) -> None:
    """Raise UserError if a text file is missing."""
    try:
        missing = not Path(name).exists()
    except (OSError, ValueError) as error:
        message = f"cannot read: {getattr(error, 'strerror', error)}; give a text file"
        raise UserError(message, str(name)) from error
    if missing:
        raise UserError("not found; give a text file, or - for standard input", str(name))


class Dialect(NamedTuple):
    """The form of the rows of a table.

    Attributes:
        delimiter: character between the cells
        quoted: whether cells may be quoted as in CSV
    """

    delimiter: str
    quoted: bool


class Table:
    """A table, read lazily and as often as needed.

    Args:
        file: path of the table
        columns: columns to read; None for the first two, which must be the only ones unless the
            header row names those of `languages`
        languages: names of the columns in a header row
        option: option that selects columns, for error messages
        opener: opens the text as UTF-8; None for a plain or compressed file
    """

    def __init__(
        self,
        file: Path,
        columns: Sequence[Column] | None = None,
        languages: Sequence[str] = (),
        option: str = "data.columns: [1, 2]",
        opener: Callable[[], AbstractContextManager[BufferedReader]] | None = None,
    ) -> None:
        self.file, self._columns, self._option = file, columns, option
        self._open = opener or partial(open_text, file)
        self._languages = [name.lower() for name in languages]

    @cached_property
    def dialect(self) -> Dialect:
        """The delimiter and the quoting, from the first rows."""
        sample = [line for line in islice(self._lines(), SAMPLE_ROWS) if line.strip()]
        if self._suffix == ".csv":
            return Dialect(_find_delimiter(sample), quoted=True)
        return Dialect("\t", quoted=_is_quoted(sample))

    @cached_property
    def header(self) -> list[str] | None:
        """The cells of the header row; None if the first row is a sentence pair."""
        first = next(self._all_rows(), None)
        if first is None:
            return None
        cells = [cell.strip() for cell in first[1]]
        if self._columns is not None and any(isinstance(one, str) for one in self._columns):
            return cells
        names = self._column_names(cells)
        named = self._languages and set(self._languages) <= set(names)
        known = [name in HEADER_NAMES or name in self._languages for name in names]
        read = [known[i] for i in self._numbers() or range(len(known)) if i < len(known)]
        # One word that names a column may be a sentence; two of them are a header.
        return cells if named or (all(read) and sum(known) > 1) else None

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of each row's first line, from 1, and the cells of its columns.

        A blank row has empty cells, as a blank line in two files of sentences.

        Raises:
            UserError: if the table cannot be read, or a row lacks a column
        """
        indices = self._indices()
        has_header = self.header is not None
        for number, cells in self._all_rows():
            if has_header:
                has_header = False
            elif len(cells) <= 1 and not "".join(cells).strip():
                yield number, [""] * len(indices)
            elif self._columns is None and self.header is None and len(cells) != 2:
                message = (
                    f"expected 2 columns, got {len(cells)}; write source, {self._spelled_delimiter}"
                    f", target, or select the columns with {self._option}"
                )
                raise UserError(message, f"{self.file}:{number}")
            elif len(cells) <= max(indices):
                message = (
                    f"expected at least {max(indices) + 1} columns, got {len(cells)}; complete the "
                    f"row, or select other columns with {self._option}"
                )
                raise UserError(message, f"{self.file}:{number}")
            else:
                yield number, [cells[index] for index in indices]

    def sample(self, count: int) -> list[list[str]]:
        """Return all cells of the first rows, a header row included, without blank rows."""
        rows = (cells for _, cells in self._all_rows())
        return list(islice((cells for cells in rows if any(map(str.strip, cells))), count))

    def notes(self) -> list[str]:
        """Return the recognized header row and quotes as sentences for the log."""
        found = []
        if self.header is not None:
            found.append(f"{self.file}:1: the first row names the columns and is not a sentence")
        if self._suffix == ".tsv" and self.dialect.quoted:
            found.append(f"{self.file}: cells are quoted as in CSV; the quotes are removed")
        return found

    @property
    def _suffix(self) -> str:
        return next((suffix for suffix in TABLES if suffix in self.file.suffixes), ".tsv")

    @property
    def _spelled_delimiter(self) -> str:
        names = {"\t": "one tab", ",": "a comma", ";": "a semicolon"}
        return names[self.dialect.delimiter]

    def _indices(self) -> list[int]:
        if self._columns is not None:
            return [self._index(column) for column in self._columns]
        names = self._column_names(self.header or ())
        if self._languages and set(self._languages) <= set(names):
            return [names.index(name) for name in self._languages]
        if self.header is not None and len(self.header) != 2:
            listed = ", ".join(self.header)
            message = f"has the columns {listed}; select two of them with {self._option}"
            raise UserError(message, f"{self.file}:1")
        return [0, 1]

    def _numbers(self) -> list[int]:
        """Return the indices of the columns to read that are given by number."""
        return [column - 1 for column in self._columns or () if isinstance(column, int)]

    def _column_names(self, cells: Iterable[str]) -> list[str]:
        """Return the cells of a header row for comparison: `DE-ch` is de if that is a language."""
        names = [unicodedata.normalize("NFC", cell).lower() for cell in cells]
        codes = [re.split("[-_]", name)[0] for name in names]
        return [
            code if code in self._languages and name not in self._languages else name
            for name, code in zip(names, codes, strict=True)
        ]

    def _index(self, column: Column) -> int:
        if isinstance(column, int):
            return column - 1
        header = self.header or []
        if column not in header:
            listed = ", ".join(header) or "none"
            message = f"no column '{column}' in the header row; it has: {listed}"
            raise UserError(message, f"{self.file}:1")
        return header.index(column)

    def _lines(self) -> Iterator[str]:
        with self._open() as stream:
            yield from decode_lines(raw_lines(stream), str(self.file))

    def _all_rows(self) -> Iterator[tuple[int, list[str]]]:
        delimiter, quoted = self.dialect
        if not quoted:
            for number, line in enumerate(self._lines(), start=1):
                yield number, line.split(delimiter)
            return
        with self._open() as stream:
            yield from _quoted_rows(stream, delimiter, self.file)


def _quoted_rows(
    stream: Iterable[bytes], delimiter: str, file: Path
) -> Iterator[tuple[int, list[str]]]:
    """Parse rows of CSV, whose quoted cells may have line breaks; these become spaces."""
    lines = decode_lines(raw_lines(stream), str(file))
    for number, line in (numbered := enumerate(lines, start=1)):
        row, size = [line], len(line)
        # Inside of a quoted cell, the number of quotes up to here is odd.
        quotes = line.count('"')
        while quotes % 2:
            _, more = next(numbered, (0, None))
            size += len(more or "")
            if more is None or size > MAX_LINE_BYTES:
                message = 'a quoted cell does not end; write a quote inside of a cell as ""'
                raise UserError(message, f"{file}:{number}")
            row.append(more)
            quotes += more.count('"')
        try:
            yield number, next(csv.reader([" ".join(row)], delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            message = f'is not valid CSV: {error}; write a quote inside of a cell as ""'
            raise UserError(message, f"{file}:{number}") from None


def _find_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that gives all rows the same number of cells."""
    for delimiter in (",", ";", "\t"):
        rows = csv.reader(lines, delimiter=delimiter)
        widths = {len(row) for row in rows if row}
        if len(widths) == 1 and widths != {1}:
            return delimiter
    return ","


def _is_quoted(lines: Sequence[str]) -> bool:
    """Return whether cells are quoted as spreadsheets do, rather than quotations.

    Every cell that begins with a quote must be a quoted cell, and all rows must have as many cells.
    One of them must have a tab or a doubled quote inside, or all cells of a column must be quoted.
    """
    if not all(map(ROW.fullmatch, lines)):
        return False
    rows = [[match["quoted"] for match in CELL.finditer(line)] for line in lines]
    if len(set(map(len, rows))) > 1:
        return False
    if any("\t" in cell or '""' in cell[1:-1] for row in rows for cell in row if cell):
        return True
    # The names in a header row need no quotes.
    return any(map(all, zip(*rows[1:], strict=False)))
