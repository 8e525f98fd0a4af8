"""What scripts that compare systems share: training runs, reading them, exact match, tables."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nmt.config.schema import DataConfig
from nmt.data.corpus import find_corpus
from nmt.evaluation.metrics import score
from nmt.search.translator import Translator
from nmt.storage.run_dir import RunDir

Pair = tuple[str, str]
Report = dict[str, float]


def train(config: Path, run: Path, overrides: Sequence[str]) -> None:
    """Train through nmt-train, which passes over a finished run; a failure ends the script too."""
    command = [sys.executable, "-m", "nmt.cli.train", str(config), *overrides, "--run", str(run)]
    # Not subprocess.run: on Ctrl-C it would kill a training that is about to save itself.
    with subprocess.Popen(command) as process:
        code = process.wait()
    if code:
        sys.exit(code)


def reports(run: Path, kind: str) -> list[Report]:
    """The reports of one kind, `train` or `valid`, of a run, oldest first."""
    lines = RunDir(run).metrics.read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [report for report in found if report.pop("kind") == kind]


def valid_pairs(data: DataConfig) -> tuple[list[Pair], list[Pair]]:
    """All pairs of the validation text, and those of them that stand nowhere in training."""
    seen = set(find_corpus(data.train, data.source, data.target).pairs())
    pairs = list(find_corpus(data.valid, data.source, data.target).pairs())
    return pairs, [pair for pair in pairs if pair not in seen]


def exact_match(translator: Translator, pairs: Sequence[Pair]) -> float:
    """Share of the pairs whose translation is the target, in percent."""
    texts = [translation.text for translation in translator.translate(s for s, _ in pairs)]
    return score(["exact"], texts, [[target for _, target in pairs]])["exact"].score


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its columns are padded, so that it reads well as text too."""
    table = [list(header), *map(list, rows)]
    widths = [max(3, *(len(row[column]) for row in table)) for column in range(len(header))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in table]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def write_results(output: Path, measured: Mapping[str, Any], table: str) -> None:
    """Write what was measured as OUTPUT.json and its table as OUTPUT.md; print the table."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    output.with_suffix(".md").write_text(table + "\n", "utf-8")
    print(table)
