"""Time to translate one sentence: from a cold start, and with a warm `Translator`."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.results import Row
from nmt.cli.process import configure_process
from nmt.errors import UserError
from nmt.search.translator import Translator

ROOT = Path(__file__).resolve().parents[2]


def cold_row(run: Path, sentence: str, *, threads: int, repetitions: int) -> Row:
    """Measure seconds of an `nmt-translate` process for one sentence on standard input."""
    seconds = [_process(run, sentence, threads) for _ in range(repetitions + 1)]
    note = f"{len(sentence.split())} words, beam 5; without the first start of {seconds[0]:.1f} s"
    conditions = _conditions("fp32", threads)
    return Row("one sentence from a cold start", "nmt", "s", seconds[1:], conditions, note=note)


def _process(run: Path, sentence: str, threads: int) -> float:
    variables = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    _call("translate", "-m", str(run), "--device", "cpu", text=sentence + "\n", variables=variables)
    return time.perf_counter() - start


def _call(
    command: str, *arguments: str, text: str = "", variables: Mapping[str, str] | None = None
) -> None:
    """Run one of our commands as a process.

    Raises:
        UserError: it fails; contains its last message
    """
    finished = subprocess.run(
        [sys.executable, "-m", f"nmt.cli.{command}", *arguments],
        input=text,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})},
    )
    if finished.returncode:
        messages = finished.stderr.strip().splitlines() or ["no message"]
        raise UserError(f"nmt-{command} failed: {messages[-1]}")


def warm_rows(run: Path, sentences: list[str], *, threads: int, repetitions: int) -> list[Row]:
    """Measure milliseconds of `Translator.translate` for one sentence of 15 words.

    With exact and heuristic early stopping.
    """
    selected = [sentence for sentence in sentences if len(sentence.split()) == 15][:repetitions]
    selected = selected or sentences[:repetitions]
    rows = []
    configure_process("cpu", threads=threads)
    for precision in ("fp32", "int8"):
        translator = Translator.load(run, device="cpu", precision=precision)
        for sentence in selected[:3]:
            translator.translate([sentence], beam_size=5)
        for early_stopping in ("exact", "heuristic"):
            values, tokens = [], 0
            for sentence in selected:
                start = time.perf_counter()
                [translation] = translator.translate(
                    [sentence], beam_size=5, early_stopping=early_stopping
                )
                values.append(1000 * (time.perf_counter() - start))
                tokens += len(translation.pieces)
            length = tokens / len(selected)
            note = f"{len(selected)} sentences of 15 words, {length:.1f} subwords, beam 5"
            conditions = _conditions(precision, threads) | {"early stopping": early_stopping}
            rows.append(Row("one sentence, warm", "nmt", "ms", values, conditions, note=note))
    return rows


def _conditions(dtype: str, threads: int) -> dict[str, Any]:
    return {"dtype": dtype, "threads": threads}


CONFIG = """\
data: {{train: {train}, valid: {valid}, source: {source}, target: {target},
  vocabulary: {{model: {vocabulary}}}}}
model:
  embedding_size: 256
  encoder: {{type: bilstm, hidden_size: 256, layers: 2, dropout: 0.3}}
  decoder: {{type: bahdanau, hidden_size: 512, dropout: 0.3}}
training: {{batch_sentences: 64, steps: {steps}, validate_every: 1000000, save_every: {steps}}}
evaluation: {{samples: 0, pictures: 0}}
"""


def short_run(
    folder: Path, train: Path, languages: tuple[str, str], vocabulary: Path, steps: int
) -> Path:
    """Train a model for `steps` updates with nmt-train, once."""
    run = folder / f"run-{train.name}-{steps}"
    if run.is_dir():
        return run
    config = folder / "run.yaml"
    write_config(config, str(train), train, languages, vocabulary, steps)
    _call("train", str(config), "--run", str(run))
    return run


def write_config(
    config: Path,
    train: str,
    text: Path,
    languages: tuple[str, str],
    vocabulary: Path,
    steps: int,
) -> None:
    """Write an experiment on `train`, validated on the first lines of `text`."""
    for side in languages:
        first = "".join(_lines(text, side)[:100])
        (config.parent / f"first.{side}").write_text(first, encoding="utf-8")
    source, target = languages
    filled = CONFIG.format(
        train=train,
        valid=config.parent / "first",
        source=source,
        target=target,
        vocabulary=vocabulary,
        steps=steps,
    )
    config.write_text(filled, encoding="utf-8")


def _lines(train: Path, side: str) -> list[str]:
    with train.with_name(f"{train.name}.{side}").open(encoding="utf-8") as file:
        return file.readlines()
