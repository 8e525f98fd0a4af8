"""Translation of a test text by every run of a comparison, and measurements of its training.

A run is translated once: its translations and their origin are kept in the folder of the study, and
are used again as long as the weights, the text and the options of search are the same.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from nmt.api.run import Run
from nmt.comparison.plan import PlannedRun, System, safe_name
from nmt.config.search_options import SearchOptions
from nmt.data.corpus import image_path
from nmt.data.languages import language_code
from nmt.data.text import read_lines
from nmt.errors import UserError
from nmt.evaluation.metrics import check_lines
from nmt.files import is_file
from nmt.inference.saved_model import load_saved_model
from nmt.search.source_line import number_lines
from nmt.search.translator import Translator
from nmt.storage.atomic import file_errors, replace_file
from nmt.storage.checkpoint import read_state, weights_checksum
from nmt.storage.run_checkpoints import find_checkpoint
from nmt.storage.run_dir import RunDir
from nmt.training.datasets import find_text
from nmt.version import VERSION


@dataclass(frozen=True)
class TestSet:
    """The text of a comparison.

    Attributes:
        sources: source lines, or paths of images
        references: one list of lines per reference file
        description: its origin, for captions
    """

    __test__ = False  # not a class of tests

    sources: Sequence[str]
    references: Sequence[Sequence[str]]
    description: str


@dataclass(frozen=True)
class Matrix:
    """Attention weights of one sentence as plain data."""

    source: Sequence[str]
    target: Sequence[str]
    weights: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Measurement:
    """Measurements of one run.

    Attributes:
        path: run directory
        seed: seed of its training
        texts: translations of the test text
        parameters: number of parameters
        minutes: minutes of training, validations included
        updates: updates of training
        tokens_per_second: target tokens per second in training, the median of the reports
        seconds: seconds of translation
        attention: weights of the sentence of the figure; None without attention
        alignment_error: alignment error rate of the checkpoint in percent, as its validation has
            reported it; None without `evaluation.alignments`
    """

    path: Path
    seed: int
    texts: Sequence[str]
    parameters: int
    minutes: float
    updates: int
    tokens_per_second: float | None
    seconds: float
    attention: Matrix | None
    alignment_error: float | None = None


def read_test(files: Sequence[Path], systems: Sequence[System]) -> TestSet:
    """Read SOURCE and REFERENCE files, or the validation text that all systems have in common.

    Raises:
        UserError: the files do not fit together, or the systems have different languages or
            validation texts
    """
    data = systems[0].experiment.data
    _check_languages(systems)
    if files:
        if len(files) == 1:
            raise UserError("requires SOURCE and at least one REFERENCE", "--test")
        sources, *references = [list(read_lines(file)) for file in files]
        if not sources:
            raise UserError("is empty; give a text", str(files[0]))
        for file, lines in zip(files[1:], references, strict=True):
            if len(lines) != len(sources):
                message = f"{len(lines)} lines, but {files[0]} has {len(sources)}"
                raise UserError(f"{message}; give one line per sentence", str(file))
        if data.pictures is not None:
            sources = [image_path(name, files[0].parent) for name in sources]
        test = TestSet(sources, references, str(files[0]))
    else:
        texts = {str((one.experiment.data.valid, one.experiment.data.held_out)) for one in systems}
        if len(texts) > 1 or data.held_out is not None:
            raise UserError(
                "is required, as the systems have no validation text in common", "--test"
            )
        pairs = list(find_text(data, data.valid).pairs())
        names = ", ".join(str(corpus.path) for corpus in data.valid)
        description = f"{names}, the validation text, which also selects the best checkpoints"
        test = TestSet([s for s, _ in pairs], [[t for _, t in pairs]], description)
    check_lines(test.sources, test.references)
    return test


def _check_languages(systems: Sequence[System]) -> None:
    """Raise UserError if the known languages of the systems differ: no text tests them all."""
    for side in ("source", "target"):
        found: dict[str, str] = {}
        for system in systems:
            code = language_code(getattr(system.experiment.data, side))
            if code is not None:
                found.setdefault(code, system.name)
        if len(found) > 1:
            listed = ", ".join(f"{code} of {name}" for code, name in found.items())
            message = f"the {side} languages differ: {listed}; compare systems of one pair"
            raise UserError(message)


def measure(
    systems: Sequence[System],
    test: TestSet,
    folder: Path,
    *,
    sentence: int,
    checkpoint: str = "best",
    device: str = "auto",
    trust_plugins: bool = False,
    search: Callable[[SearchOptions], SearchOptions] = lambda options: options,
) -> Iterator[tuple[System, Measurement]]:
    """Translate the test text by every run, and yield the measurements.

    Args:
        systems: systems whose runs are trained
        test: the text
        folder: directory of the translations, which is created
        sentence: row of the sentence whose attention is kept
        checkpoint: best, last, average or the number of an update
        device: auto, cpu or cuda
        trust_plugins: run the code that the runs contain or name
        search: changes the options of search of a run
    """
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for system in systems:
        for run in system.runs:
            file = folder / f"{safe_name(system.name)}-seed{run.seed}.txt"
            options = search(system.experiment.search)
            origin = [checkpoint, sentence, options.model_dump(mode="json")]
            key = _key(run, test, checkpoint, origin)
            found = _read(file, key)
            if found is None:
                saved = load_saved_model(run.path, checkpoint, trust_plugins=trust_plugins)
                translator = Translator.from_saved([saved], device=device)
                found = _translate(translator, test, options, sentence)
                found["parameters"] = sum(weight.numel() for weight in saved.model.parameters())
                _write(file, found, key)
            yield system, _with_training(run, found, checkpoint)


def _key(run: PlannedRun, test: TestSet, checkpoint: str, options: list[Any]) -> str:
    """Return a checksum of everything that decides the translations of a run."""
    directory = RunDir(run.path)
    if checkpoint == "average":
        checkpoints = [directory.checkpoint(step) for step in directory.steps()]
    else:
        checkpoints = [find_checkpoint(directory, checkpoint)[0]]
    weights = [weights_checksum(one) for one in checkpoints]
    described = json.dumps([VERSION, weights, list(test.sources), options], default=str)
    return hashlib.sha256(described.encode("utf-8", "surrogatepass")).hexdigest()


def _read(file: Path, key: str) -> dict[str, Any] | None:
    """Return the measurement in a file, unless it is of another model, text or search."""
    if not (is_file(file) and is_file(file.with_suffix(".json"))):
        return None
    try:
        found: dict[str, Any] = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        texts = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError):
        return None
    is_same = found.get("key") == key and found.get("checksum") == _checksum(texts)
    return {**found, "texts": texts} if is_same else None


def _write(file: Path, found: dict[str, Any], key: str) -> None:
    texts = found["texts"]
    kept = {name: value for name, value in found.items() if name != "texts"}
    replace_file(file, "".join(f"{text}\n" for text in texts))
    text = json.dumps({"key": key, "checksum": _checksum(texts), **kept}, ensure_ascii=False)
    replace_file(file.with_suffix(".json"), f"{text}\n")


def _checksum(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _translate(
    translator: Translator, test: TestSet, options: SearchOptions, sentence: int
) -> dict[str, Any]:
    lines = list(number_lines(test.sources))
    start = time.perf_counter()
    translations = translator.translate_lines(lines, options)
    seconds = time.perf_counter() - start
    shown, matrix = translations[sentence].attention_matrix, None
    if shown is not None:
        weights = [[round(weight, 4) for weight in row] for row in shown.weights_ts.tolist()]
        matrix = asdict(Matrix(list(shown.source), list(shown.target), weights))
    return {
        "texts": [one.text for one in translations],
        "seconds": seconds,
        "attention": matrix,
    }


def _with_training(run: PlannedRun, found: dict[str, Any], checkpoint: str) -> Measurement:
    last, _ = find_checkpoint(RunDir(run.path), "last")
    state = read_state(last)
    used = None
    if checkpoint != "average":
        used = find_checkpoint(RunDir(run.path), checkpoint)[0].name
    reports = Run(run.path).metrics
    speeds = [
        one["target_tokens_per_second"] for one in reports if "target_tokens_per_second" in one
    ]
    matrix = found["attention"]
    return Measurement(
        path=run.path,
        seed=run.seed,
        texts=found["texts"],
        parameters=found["parameters"],
        minutes=float(state.get("minutes", 0.0)),
        updates=int(state["step"]),
        tokens_per_second=median(speeds) if speeds else None,
        seconds=found["seconds"],
        attention=None if matrix is None else Matrix(**matrix),
        alignment_error=next(
            (one["aer"] for one in reports if str(one["step"]) == used and "aer" in one), None
        ),
    )
