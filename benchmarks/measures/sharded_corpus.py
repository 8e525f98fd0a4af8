"""A corpus in shards: how fast it is encoded, how soon training begins again, how much it takes."""

import gzip
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from harness.results import Row
from measures.one_sentence import ROOT, write_config
from nmt.errors import UserError

SHARDS = 20
STEPS = 1_000_000  # never reached: the run is interrupted
UPDATED = re.compile(r"update \d+,")


class Started(NamedTuple):
    """A start of nmt-train until it was interrupted.

    Attributes:
        text: seconds until the training text was read
        update: seconds until the first update was done
        later: seconds of an update after it
        peak: resident bytes of its largest process
        mapped: bytes of these, at the end, that are pages of files: the system may take them back
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
) -> list[Row]:
    """Of `pairs` pairs of a training text, lengthened by words of chance; by nmt-train itself.

    Args:
        updates: of each start, two at least: memory grows with every new size of a batch
    """
    pattern = make_shards(train, languages, folder, pairs)
    config, run = folder / "shards.yaml", folder / f"run-shards-{pairs}"
    write_config(config, f"'{pattern}'", train, languages, vocabulary, STEPS)
    begun, again = start(config, run, updates, "--restart"), start(config, run, updates)
    speed = 2 * pairs / (begun.text - again.text)
    conditions: dict[str, Any] = {"pairs": f"{pairs:,}", "shards": SHARDS}
    starts = {"first": begun, "second": again}
    told = f"its text after {again.text:.1f} s; a later update takes {again.later:.1f} s"
    return [
        Row("encoding a corpus in shards", "nmt", "lines/s", [speed], conditions),
        Row("second start, first update", "nmt", "s", [again.update], conditions, note=told),
        *(_memory(name, one, conditions | {"updates": updates}) for name, one in starts.items()),
    ]


def _memory(name: str, one: Started, conditions: dict[str, Any]) -> Row:
    note = f"{one.mapped / 1e9:.2f} GB of it pages of files"
    measure = f"resident at most, {name} start"
    return Row(measure, "nmt", "GB", [one.peak / 1e9], conditions, note=note)


def make_shards(train: Path, languages: tuple[str, str], folder: Path, pairs: int) -> Path:
    """The pattern of shards of so many pairs; made once."""
    place = folder / f"shards-{pairs}"
    pattern = place / "part-*"
    if (place / "whole").is_file():
        return pattern
    place.mkdir(parents=True, exist_ok=True)
    sides = [
        train.with_name(f"{train.name}.{side}").read_text(encoding="utf-8").splitlines()
        for side in languages
    ]
    words = [[word for line in lines for word in line.split()] for lines in sides]
    chance = random.Random(1)
    for number in range(SHARDS):
        rows = [chance.randrange(len(sides[0])) for _ in range(pairs // SHARDS)]
        for side, lines, said in zip(languages, sides, words, strict=True):
            shard = place / f"part-{number:02}.{side}.gz"
            with gzip.open(shard, "wt", 1, encoding="utf-8") as file:
                for row in rows:
                    at = chance.randrange(len(said) - 2)
                    file.write(f"{lines[row]} {said[at]} {said[at + 1]}\n")
    (place / "whole").touch()
    return pattern


def start(config: Path, run: Path, count: int, *arguments: str) -> Started:
    """Start nmt-train, and interrupt it after so many updates.

    Raises:
        UserError: when it ends before, with the last line that it said
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
    with process.stderr as told:
        for line in told:
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
        raise UserError(f"nmt-train ended before it was interrupted: {last}")
    later = (updates[-1] - updates[0]) / (len(updates) - 1)
    return Started(text, updates[0], later, usage.ru_maxrss * 1024, mapped)


def _mapped(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition("RssFile:")[2].split()[0]) * 1024
