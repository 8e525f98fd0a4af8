"""A corpus in shards: speed of encoding, time to the first update, memory."""

import gzip
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.results import Row
from measures.one_sentence import ROOT, write_config
from nmt.errors import UserError

SHARDS = 20
STEPS = 1_000_000  # never reached, because the training is interrupted
UPDATED = re.compile(r"update \d+,")


class Start(NamedTuple):
    """Times and memory of an nmt-train process that was interrupted.

    Attributes:
        text: seconds until the training text was available
        update: seconds until the first update was completed
        later: seconds per update after it
        peak: peak resident bytes of the process
        mapped: resident file pages at the end, in bytes, which the system can reclaim
    """

    text: float
    update: float
    later: float
    peak: int
    mapped: int


def shard_rows(
    train: Path,
    languages: tuple[str, str],
    vocabulary: Path,
    folder: Path,
    *,
    pairs: int,
    updates: int,
    overrides: Sequence[str] = (),
) -> list[Row]:
    """Measure two starts of nmt-train on a training text with random words appended to each line.

    Args:
        train: prefix of the text
        languages: suffixes of the files
        vocabulary: SentencePiece model
        folder: directory of the shards and the run
        pairs: pairs of the generated corpus
        updates: updates per start, at least two; memory grows with every new batch shape
        overrides: changes of the experiment, as SECTION.KEY=VALUE
    """
    pattern = make_shards(train, languages, folder, pairs)
    config, run = folder / "shards.yaml", folder / f"run-shards-{pairs}"
    write_config(config, f"'{pattern}'", train, languages, vocabulary, STEPS)
    first = start(config, run, updates, *overrides, "--restart")
    again = start(config, run, updates, *overrides)
    speed = 2 * pairs / (first.text - again.text)
    conditions: dict[str, Any] = {"pairs": f"{pairs:,}", "shards": SHARDS}
    starts = {"first": first, "second": again}
    note = f"text available after {again.text:.1f} s; a later update takes {again.later:.1f} s"
    return [
        Row("encoding a corpus in shards", "nmt", "lines/s", [speed], conditions),
        Row("second start, first update", "nmt", "s", [again.update], conditions, note=note),
        *(_memory(name, one, conditions | {"updates": updates}) for name, one in starts.items()),
    ]


def _memory(name: str, one: Start, conditions: dict[str, Any]) -> Row:
    note = f"{one.mapped / 1e9:.2f} GB of it file pages"
    measure = f"peak resident memory, {name} start"
    return Row(measure, "nmt", "GB", [one.peak / 1e9], conditions, note=note)


def make_shards(train: Path, languages: tuple[str, str], folder: Path, pairs: int) -> Path:
    """Generate shards with `pairs` pairs, once, and return their file pattern."""
    shards = folder / f"shards-{pairs}"
    pattern = shards / "part-*"
    if (shards / "whole").is_file():
        return pattern
    shards.mkdir(parents=True, exist_ok=True)
    sides = [
        train.with_name(f"{train.name}.{side}").read_text(encoding="utf-8").splitlines()
        for side in languages
    ]
    words = [[word for line in lines for word in line.split()] for lines in sides]
    random_state = random.Random(1)
    for number in range(SHARDS):
        rows = [random_state.randrange(len(sides[0])) for _ in range(pairs // SHARDS)]
        for side, lines, side_words in zip(languages, sides, words, strict=True):
            shard = shards / f"part-{number:02}.{side}.gz"
            with gzip.open(shard, "wt", 1, encoding="utf-8") as file:
                for row in rows:
                    at = random_state.randrange(len(side_words) - 2)
                    file.write(f"{lines[row]} {side_words[at]} {side_words[at + 1]}\n")
    (shards / "whole").touch()
    return pattern


def start(config: Path, run: Path, count: int, *arguments: str) -> Start:
    """Start nmt-train, interrupt it after `count` updates, and return its measurements.

    Raises:
        UserError: it ends earlier; contains its last message
    """
    command = [sys.executable, "-m", "nmt.cli.train", str(config), "--run", str(run), *arguments]
    began, text, last, mapped = time.perf_counter(), 0.0, "", 0
    updates: list[float] = []
    process = subprocess.Popen(
        [*command, "training.log_every=1"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    with process.stderr as messages:
        for line in messages:
            last, now = line.strip(), time.perf_counter() - began
            if "training text:" in line:
                text = now
            if UPDATED.search(line):
                updates.append(now)
                if len(updates) == count:
                    mapped = _mapped(process.pid)
                    process.send_signal(signal.SIGINT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if "interrupted" not in last:
        raise UserError(f"nmt-train ended before the interrupt: {last}")
    later = (updates[-1] - updates[0]) / (len(updates) - 1)
    return Start(text, updates[0], later, usage.ru_maxrss * 1024, mapped)


def _mapped(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition("RssFile:")[2].split()[0]) * 1024
