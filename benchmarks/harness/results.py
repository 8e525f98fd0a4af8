"""Measured values and the files they are written to."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HEADER = ("measure", "contender", "value", "unit", "of peak", "ratio", "conditions", "note")


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    Attributes:
        measure: name of the quantity
        contender: the measured system
        unit: unit of `values`
        values: one per repetition, in the order of the runs
        conditions: number format, threads, sizes and whatever else the values depend on
        versions: of the packages that computed them
        baseline: the contender whose values are divided by these to give `ratios`
        ratios: one per repetition; empty if nothing is compared
        note: remarks
        share: share of the machine's peak rate of matrix products in this number format
    """

    measure: str
    contender: str
    unit: str
    values: Sequence[float]
    conditions: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    baseline: str = ""
    ratios: Sequence[float] = ()
    note: str = ""
    share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row for JSON, with the medians added."""
        medians = {"median": median(self.values)} if self.values else {}
        if self.ratios:
            medians["median_ratio"] = median(self.ratios)
        return asdict(self) | medians


def unmeasured(measure: str, reason: str) -> Row:
    """Return a row for a quantity that could not be measured."""
    return Row(measure, "", "", [], {}, note=f"not measured: {reason}")


class ResultsFile:
    """A table `STEM.md` and a file `STEM.json`, complete after every added row.

    Both are replaced as a whole, so rows measured before a failure are kept and a reader never
    sees half a file.

    Args:
        stem: path of the files without suffix
        heading: returns the text above the table
        header: further entries of the JSON file
    """

    def __init__(
        self, stem: Path, heading: Callable[[], str], header: Mapping[str, Any] | None = None
    ) -> None:
        self.rows: list[Row] = []
        self._stem, self._heading, self._header = stem, heading, header or {}
        stem.parent.mkdir(parents=True, exist_ok=True)

    def add(self, row: Row) -> None:
        """Add a row and write both files."""
        self.rows.append(row)
        tree = {**self._header, "rows": [row.to_dict() for row in self.rows]}
        _replace(self._stem.with_suffix(".json"), json.dumps(tree, indent=1) + "\n")
        _replace(self._stem.with_suffix(".md"), f"{self.text()}\n")

    def text(self) -> str:
        """Return the heading and the table."""
        return f"{self._heading()}\n\n{table(self.rows)}"


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def interleaved(run: Mapping[str, Any], repetitions: int) -> dict[str, list[Any]]:
    """Run every contender once per repetition; return the results of `run[name](repetition)`.

    Machines differ in speed from minute to minute, so contenders take turns. Every second
    repetition runs in reverse order, so that no contender always follows the same one.
    """
    results: dict[str, list[Any]] = {name: [] for name in run}
    for repetition in range(repetitions):
        names = list(run) if repetition % 2 == 0 else list(run)[::-1]
        for name in names:
            results[name].append(run[name](repetition))
    return results


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Divide run by run, which cancels slow phases of the machine."""
    return [a / b for a, b in zip(first, second, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Format the median, with the smallest and the largest value in parentheses."""
    if not values:
        return "-"
    middle = number(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """Format with three significant digits and commas between thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table."""
    cells = [HEADER, ["---"] * len(HEADER), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _cells(row: Row) -> list[str]:
    own = [f"{name} {number}" for name, number in row.versions.items() if name in row.contender]
    return [
        row.measure,
        f"{row.contender} ({', '.join(own)})" if own else row.contender,
        spread(row.values),
        row.unit,
        "" if row.share is None else f"{row.share:.0%}",
        f"{row.baseline}: {spread(row.ratios)} x" if row.ratios else "",
        ", ".join(f"{key} {value}" for key, value in row.conditions.items()),
        row.note,
    ]
