"""Training runs, their reports, exact match and tables, for scripts that compare systems."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nmt.config.schema import DataConfig
from nmt.evaluation.metrics import score
from nmt.search.translator import Translator
from nmt.storage.run_dir import RunDir
from nmt.training.datasets import find_text

Pair = tuple[str, str]
Report = dict[str, float]


def train(config: Path, run: Path, overrides: Sequence[str]) -> None:
    """Run nmt-train, which skips finished runs; exit with its code if it fails."""
    command = [sys.executable, "-m", "nmt.cli.train", str(config), *overrides, "--run", str(run)]
    # subprocess.run would kill the training on Ctrl-C, before it has saved a checkpoint.
    with subprocess.Popen(command) as process:
        code = process.wait()
    if code:
        sys.exit(code)


def reports(run: Path, kind: str) -> list[Report]:
    """Return the reports of one kind, `train` or `valid`, oldest first."""
    lines = RunDir(run).metrics.read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [report for report in found if report.pop("kind") == kind]


def valid_pairs(data: DataConfig) -> tuple[list[Pair], list[Pair]]:
    """Return all pairs of the validation text, and those that are not in the training text."""
    seen = set(find_text(data, data.train).pairs())
    pairs = list(find_text(data, data.valid).pairs())
    return pairs, [pair for pair in pairs if pair not in seen]


def exact_match(translator: Translator, pairs: Sequence[Pair]) -> float:
    """Return the share of pairs whose translation equals the target, in percent."""
    texts = [translation.text for translation in translator.translate(s for s, _ in pairs)]
    return score(["exact"], texts, [[target for _, target in pairs]])["exact"].score


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table with aligned columns."""
    table = [list(header), *map(list, rows)]
    widths = [max(3, *(len(row[column]) for row in table)) for column in range(len(header))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in table]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def write_results(output: Path, measured: Mapping[str, Any], table: str) -> None:
    """Write values to OUTPUT.json and their table to OUTPUT.md, and print the table."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    output.with_suffix(".md").write_text(table + "\n", "utf-8")
    print(table)
