"""Files of measurements."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Pair = tuple[str, str]


def write_results(output: Path, measured: Mapping[str, Any], table: str) -> None:
    """Write values to OUTPUT.json and their table to OUTPUT.md, and print the table."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    output.with_suffix(".md").write_text(table + "\n", "utf-8")
    print(table)
