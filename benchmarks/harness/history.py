"""All measurements of a machine, so that a regression is seen."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from harness.results import Row

MACHINE = ("processor", "cores", "gpu", "torch")
HIGHER_IS_BETTER = "/s"  # end of a unit of rates; all other compared units are costs
COMPARED = ("/s", "s", "ms", "GB")


class History:
    """A file of JSON lines, one per measured row, to which rows are appended.

    Rows are compared with earlier ones of the same processor, number of cores, GPU and version of
    torch, on the same text, under the same conditions.

    Args:
        path: the file; created with the first row
        machine: description of the machine, from `machine.describe`
        settings: text, amounts of work and whatever else must be the same
    """

    def __init__(self, path: Path, machine: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self._path, self._revision = path, machine["revision"]
        self._machine = {name: machine[name] for name in MACHINE} | dict(settings)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._best: dict[str, dict[str, Any]] = {}
        for entry in map(json.loads, lines):
            self._keep_best(entry)

    def add(self, row: Row) -> Row:
        """Append a row; return it with a note if it is worse than the best earlier one."""
        if not row.values or not row.unit.endswith(COMPARED):
            return row
        entry = {
            "machine": self._machine,
            "measure": row.measure,
            "contender": row.contender,
            "unit": row.unit,
            "conditions": dict(row.conditions),
            "value": median(row.values),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": self._revision,
        }
        best = self._best.get(_key(entry))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._keep_best(entry)
        if best is None or (loss := 1 - _quality(entry) / _quality(best)) <= 0:
            return row
        date, revision = best["date"][:10], best["revision"]
        note = f"{loss:.0%} worse than {best['value']:.4g} of {date} ({revision})"
        return replace(row, note="; ".join(part for part in (row.note, note) if part))

    def _keep_best(self, entry: dict[str, Any]) -> None:
        best = self._best.setdefault(_key(entry), entry)
        if _quality(entry) > _quality(best):
            self._best[_key(entry)] = entry


def _key(entry: Mapping[str, Any]) -> str:
    names = ("machine", "measure", "contender", "unit", "conditions")
    return json.dumps([entry[name] for name in names], sort_keys=True)


def _quality(entry: Mapping[str, Any]) -> float:
    value = float(entry["value"])
    return value if entry["unit"].endswith(HIGHER_IS_BETTER) else 1 / value
