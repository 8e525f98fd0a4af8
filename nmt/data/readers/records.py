"""Readers of rows with cells: tables (.tsv, .csv, tab-separated .txt), JSON Lines and Parquet."""

import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import Any

from nmt.data.readers.columns import SAMPLE_ROWS, choose_columns, has_header
from nmt.data.readers.input_file import InputFile
from nmt.data.readers.pair_text import Pair, Reader
from nmt.data.table import Column, Table
from nmt.errors import UserError
from nmt.version import install_command

MAX_NAMES = 1000
# JSON writes a character beyond U+FFFF as two surrogates, so that one may be alone.
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

Selection = tuple[Sequence[Column] | None, tuple[str, str] | None]
"""Columns and languages that the user has selected, if any."""


class RecordReader(Reader):
    """Sentences in two columns of rows.

    Args:
        file: the file
        selection: columns and languages that the user has selected
    """

    def __init__(self, file: InputFile, selection: Selection) -> None:
        self.files = (file,)
        columns, languages = selection
        names, rows = self._sample()
        chosen = choose_columns(
            names, rows, columns=columns, languages=languages, location=str(file.path)
        )
        self._indices, self.languages = chosen.indices, chosen.languages
        width = max(map(len, rows), default=0)
        if width > 2:
            shown = " and ".join(
                str(index + 1) if names is None else f"'{names[index]}'" for index in chosen.indices
            )
            self.notes = (f"{file.path}: source and target are columns {shown} of {width}",)

    @abstractmethod
    def _sample(self) -> tuple[list[str] | None, list[list[str]]]:
        """Return the names of the columns, if they have names, and the cells of the first rows."""


class TableReader(RecordReader):
    """A table: values between tabs, commas or semicolons."""

    def _sample(self) -> tuple[list[str] | None, list[list[str]]]:
        rows = self._table().sample(SAMPLE_ROWS)
        if not rows:
            raise UserError("is empty; give a file with sentence pairs", str(self.files[0].path))
        is_header = has_header(rows)
        self._names = [cell.strip() for cell in rows[0]] if is_header else None
        return self._names, rows[is_header:]

    def _table(self, columns: Sequence[Column] | None = None) -> Table:
        file = self.files[0]
        # The suffix of a table inside of compression or an archive decides on its form.
        return Table(file.path, columns, option="--columns 1 2", opener=file.open_utf8)

    def pairs(self) -> Iterator[Pair]:
        columns: list[Column] = [index + 1 for index in self._indices]
        rows = self._table(columns).rows()
        for number, (source, target) in rows:
            if number == 1 and self._names is not None and self._is_header(source, target):
                continue
            yield Pair(number, source, target)

    def _is_header(self, source: str, target: str) -> bool:
        assert self._names is not None
        names = [self._names[index] for index in self._indices]
        return [source.strip(), target.strip()] == names


class JsonLinesReader(RecordReader):
    """One JSON object per line, whose texts may be in an object `translation`."""

    def _sample(self) -> tuple[list[str] | None, list[list[str]]]:
        records = [record for _, record in islice(self._records(), SAMPLE_ROWS)]
        names = list(dict.fromkeys(name for record in records for name in record))
        if len(names) > MAX_NAMES:
            message = f"has more than {MAX_NAMES} names in its objects; give one object per pair"
            raise UserError(message, str(self.files[0].path))
        if not names:
            message = "has no objects with texts; give one object per line"
            raise UserError(message, str(self.files[0].path))
        self._names = names
        return names, [[record.get(name, "") for name in names] for record in records]

    def _records(self) -> Iterator[tuple[int, dict[str, str]]]:
        for number, line in enumerate(self.files[0].lines(), start=1):
            if not line.strip():
                continue
            location = f"{self.files[0].path}:{number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", type(error).__name__)
                message = f"is not JSON: {reason}; write one object per line"
                raise UserError(message, location) from None
            if not isinstance(record, dict):
                raise UserError("is not a JSON object; write one object per line", location)
            if SURROGATE.search(line) and not _is_unicode(record):
                message = "has one half of a surrogate pair, which is no character; remove it"
                raise UserError(message, location)
            inner = record.pop("translation", None)
            record |= inner if isinstance(inner, dict) else {"translation": inner}
            yield number, {key: value for key, value in record.items() if isinstance(value, str)}

    def pairs(self) -> Iterator[Pair]:
        source, target = (self._names[index] for index in self._indices)
        for number, record in self._records():
            # A line break inside of a text would end a line of the written files.
            yield Pair(number, _one_line(record.get(source, "")), _one_line(record.get(target, "")))


class ParquetReader(RecordReader):
    """A Parquet file, whose texts may be in a structure `translation`."""

    def _sample(self) -> tuple[list[str] | None, list[list[str]]]:
        with self._open() as parquet:
            schema = parquet.schema_arrow
            is_text = _pyarrow_types()
            self._paths = [
                (field.name, inner.name) if inner is not None else (field.name,)
                for field in schema
                for inner in (list(field.type) if _is_struct(field.type) else [None])
                if is_text(field.type if inner is None else inner.type)
            ]
            names = [path[-1] for path in self._paths]
            if not names:
                raise UserError("has no columns of text", str(self.files[0].path))
            # Whole row groups are read only as far as needed.
            rows = [
                [row[name] for name in range(len(names))]
                for row in islice(self._rows(parquet, list(range(len(names)))), SAMPLE_ROWS)
            ]
        return names, rows

    @contextmanager
    def _open(self) -> Iterator[Any]:
        name = str(self.files[0].path)
        try:
            parquet = import_module("pyarrow.parquet")
        except ImportError:
            message = f"Parquet requires the package pyarrow; run {install_command('parquet')}"
            raise UserError(message, name) from None
        errors = import_module("pyarrow").ArrowException
        try:
            with parquet.ParquetFile(name) as opened:
                yield opened
        except (errors, OSError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"cannot be read as Parquet: {reason}", name) from None

    def _rows(self, parquet: Any, columns: Sequence[int]) -> Iterator[list[str]]:
        paths = [self._paths[index] for index in columns]
        for batch in parquet.iter_batches(columns=[".".join(path) for path in paths]):
            sides = []
            for path in paths:
                column = batch.column(path[0])
                for inner in path[1:]:
                    column = column.field(inner)
                sides.append(column.to_pylist())
            for cells in zip(*sides, strict=True):
                yield [_one_line(cell or "") for cell in cells]

    def pairs(self) -> Iterator[Pair]:
        with self._open() as parquet:
            for number, cells in enumerate(self._rows(parquet, self._indices), start=1):
                yield Pair(number, *cells)


def _is_unicode(record: object) -> bool:
    """Return whether the texts of a record have no surrogates, which UTF-8 cannot represent."""
    try:
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _pyarrow_types() -> Any:
    types = import_module("pyarrow.types")
    return lambda kind: types.is_string(kind) or types.is_large_string(kind)


def _is_struct(kind: Any) -> bool:
    return bool(import_module("pyarrow.types").is_struct(kind))


def _one_line(text: str) -> str:
    return text if "\n" not in text and "\r" not in text else " ".join(text.split())
