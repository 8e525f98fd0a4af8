"""The small run of the campaigns: dates, 16 updates, a checkpoint every two, two validations."""

import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmt.examples import dates
from tests.campaigns.file_events import Faults
from tests.campaigns.processes import Commands, Ended
from tests.commands import reports, state_of, write_experiment

EXPERIMENT: dict[str, Any] = {
    "data": {
        "train": "data/train",
        "valid": "data/valid",
        "source": "text",
        "target": "iso",
        "vocabulary": {"size": 110, "joint": False},
    },
    "model": {
        "embedding_size": 8,
        "encoder": {"type": "bilstm", "hidden_size": 8},
        "decoder": {"type": "bahdanau", "hidden_size": 8},
    },
    "training": {
        "optimizer": {"type": "adam", "learning_rate": 0.02},
        "batch_sentences": 20,
        "steps": 16,
        "validate_every": 8,
        "save_every": 2,
        "log_every": 4,
        "keep": 3,
        "threads": 1,
    },
    "search": {"beam_size": 2, "max_length": 12},
    "evaluation": {"metrics": ["exact"], "samples": 2, "pictures": 0},
}
LAST_STEP = 16
CHECKPOINT_FILES = ("model.safetensors", "training.safetensors")
# Names of TensorBoard's files contain the time.
VOLATILE = ("tensorboard",)
STEP = re.compile(r"checkpoints/\d+(/|$)")
INDEX = re.compile(r"[0-9a-f]{64}\.index")


def make_runs(folder: Path, commands: Commands) -> None:
    """Write data and an experiment into a directory, train `run`, and `half` until it is killed.

    `half` has the checkpoints up to update 10, and a validation after update 8. The events of the
    files of `run` are in `events`.
    """
    (folder / "data").mkdir()
    dates.write(folder / "data", {"train": 400, "valid": 30, "test": 30})
    write_experiment(folder / "dates.yaml", EXPERIMENT)
    record = Faults(str(folder / "run"), record=str(folder / "events"))
    ended = train(folder, commands, faults=record)
    assert ended.code == 0, ended.err
    at = next(n for n, line in enumerate(events(folder)) if "checkpoints/.12.part" in line)
    ended = train(folder, commands, "half", faults=Faults(str(folder / "half"), at=at))
    assert ended.code == -signal.SIGKILL, ended.err


def events(folder: Path) -> list[str]:
    """Return the file events of the uninterrupted run, one line each."""
    return (folder / "events").read_text(encoding="utf-8").splitlines()


def train(
    folder: Path,
    commands: Commands,
    run: str = "run",
    overrides: Sequence[str] = (),
    **options: Any,
) -> Ended:
    """Train the experiment of a directory."""
    words = ("nmt-train", "dates.yaml", *overrides, "--run", run)
    return commands.run(*words, cwd=folder, **options)


def copy_inputs(shared: Path, folder: Path) -> None:
    """Copy data and experiment, but no run."""
    shutil.copytree(shared / "data", folder / "data")
    shutil.copy(shared / "dates.yaml", folder)


def difference(run: Path, expected: Path) -> str | None:
    """Return the first difference of two finished runs that is not one of time; None if equal."""
    # An interrupted run has checkpoints of its own; the newest is that of the last update in both.
    kept = checkpoints(run)
    if str(LAST_STEP) in checkpoints(expected) and str(LAST_STEP) not in kept:
        return "the last checkpoint is missing"
    for step in set(checkpoints(expected)) & set(kept):
        one, other = (folder / "checkpoints" / step for folder in (run, expected))
        for name in CHECKPOINT_FILES:
            if (
                not (one / name).is_file()
                or (one / name).read_bytes() != (other / name).read_bytes()
            ):
                return f"checkpoint {step}: {name} differs"
        if state_of(one) != state_of(other):
            return f"checkpoint {step}: state.json differs"
    for link in ("best", "last"):
        targets = [target_of(folder / "checkpoints" / link) for folder in (run, expected)]
        if targets[0] != targets[1]:
            return f"{link} is {targets[0]} and not {targets[1]}"
    if reports(run) != reports(expected):
        return "metrics.jsonl differs"
    names, expected_names = _names(run), _names(expected)
    if names != expected_names:
        left, missing = sorted(names - expected_names), sorted(expected_names - names)
        return f"left files: {left[:5]}; missing files: {missing[:5]}"
    return None


def checkpoints(run: Path) -> list[str]:
    """Return the names of the checkpoints of a run."""
    return sorted(path.name for path in (run / "checkpoints").iterdir() if path.name.isdecimal())


def target_of(link: Path) -> str | None:
    """Return the target of a symbolic link; None if it is none."""
    return os.readlink(link) if link.is_symlink() else None


def _names(run: Path) -> Counter[str]:
    names = (str(path.relative_to(run)) for path in run.rglob("*"))
    # The name of an index is a hash of the path of the text.
    kept = (name for name in names if not name.startswith(VOLATILE) and not STEP.match(name))
    return Counter(INDEX.sub("*.index", name) for name in kept)
