"""Reports as tables for spreadsheets and data frames."""

import csv
import io
from collections.abc import Mapping

from nmt.registry import TRACKERS
from nmt.storage.atomic import JsonObject, file_errors, replace_file
from nmt.training.trackers.tracker import TrackedRun, Tracker


@TRACKERS.register("csv")
class CsvFiles(Tracker):
    """Tables `csv/train.csv` and `csv/valid.csv` in the run, one row per report."""

    def __init__(self, run: TrackedRun) -> None:
        self._directory = run.directory.csv
        with file_errors(self._directory, "cannot be created"):
            self._directory.mkdir(exist_ok=True)
        self._rows: dict[str, list[JsonObject]] = {"train": [], "valid": []}
        self._columns: dict[str, list[str]] = {}
        for report in run.reports:
            values = dict(report)
            self._rows.setdefault(str(values.pop("kind", "train")), []).append(values)
        # Written again from the reports that remain: later ones of an interrupted run disappear.
        for kind in self._rows:
            self._write(kind)

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        row = {"step": step, **values}
        self._rows.setdefault(kind, []).append(row)
        if not self._columns.get(kind) or not row.keys() <= set(self._columns[kind]):
            self._write(kind)  # a new column, such as a metric that was added to the experiment
            return
        file = self._directory / f"{kind}.csv"
        with file_errors(file), file.open("a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, self._columns[kind], lineterminator="\n").writerow(row)

    def _write(self, kind: str) -> None:
        """Write all rows of a kind, under the columns of all of them; no file without rows."""
        rows, file = self._rows[kind], self._directory / f"{kind}.csv"
        self._columns[kind] = list(dict.fromkeys(name for row in rows for name in row))
        if not rows:
            file.unlink(missing_ok=True)
            return
        text = io.StringIO()
        table = csv.DictWriter(text, self._columns[kind], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        replace_file(file, text.getvalue())
