"""Figures and how they are told: medians with their spread, ratios, one table, one JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from experiments import markdown


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        measure: what was measured
        contender: of whom
        unit: of `values`
        values: one a repetition, in the order of the runs
        conditions: number format, threads, sizes: whatever the figure holds for
        versions: of the packages that computed it
        against: of whom the figures are divided by these, as `ratios`
        ratios: run by run; empty where nothing is compared
        note: what else a reader must know
    """

    measure: str
    contender: str
    unit: str
    values: Sequence[float]
    conditions: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    against: str = ""
    ratios: Sequence[float] = ()
    note: str = ""

    def as_tree(self) -> dict[str, Any]:
        """For JSON, the medians added."""
        found = {"median": median(self.values)} if self.values else {}
        if self.ratios:
            found["median_ratio"] = median(self.ratios)
        return asdict(self) | found


def unmeasured(measure: str, why: str) -> Row:
    """A row that says that there is no figure."""
    return Row(measure, "", "", [], {}, note=f"not measured: {why}")


def interleaved(run: Mapping[str, Any], repetitions: int) -> dict[str, list[Any]]:
    """What each contender's `run[name](repetition)` gives, all of them in every repetition.

    Every second repetition goes backwards, so that no contender always follows the same one.
    """
    found: dict[str, list[Any]] = {name: [] for name in run}
    for repetition in range(repetitions):
        names = list(run) if repetition % 2 == 0 else list(run)[::-1]
        for name in names:
            found[name].append(run[name](repetition))
    return found


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """first / second, run by run."""
    return [a / b for a, b in zip(first, second, strict=True)]


def spread(values: Sequence[float]) -> str:
    """The median, and the least and the largest in brackets."""
    if not values:
        return "-"
    middle = number(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """Three digits that count, with commas in thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """All rows; a ratio is named after the contender that is divided by the row's."""
    header = ["measure", "contender", "figure", "unit", "ratio", "conditions", "note"]
    return markdown(
        header,
        [
            [
                row.measure,
                _versioned(row),
                spread(row.values),
                row.unit,
                f"{row.against}: {spread(row.ratios)} x" if row.ratios else "",
                ", ".join(f"{key} {value}" for key, value in row.conditions.items()),
                row.note,
            ]
            for row in rows
        ],
    )


def _versioned(row: Row) -> str:
    """The contender, with the versions that are its own."""
    own = [f"{name} {number}" for name, number in row.versions.items() if name in row.contender]
    return f"{row.contender} ({', '.join(own)})" if own else row.contender
