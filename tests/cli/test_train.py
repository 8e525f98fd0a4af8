"""nmt-train: `--check`, `--list`, and errors about the file, the data and the options."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.commands import PHRASES, lines_of, nmt_train, tree_of, write_experiment

UNUSED_PARAMETER = '''
import torch
from torch import nn
from nmt.model.attention.scores.general import GeneralScore
from nmt.registry import SCORES

@SCORES.register("wasteful")
class WastefulScore(GeneralScore):
    """A score with a parameter that it never uses."""

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.idle = nn.Parameter(torch.ones(3))
'''


def test_check_reports_and_writes_nothing(experiment: dict[str, Any], here: Path) -> None:
    file = write_experiment(here / "a.yaml", experiment)
    before, text = tree_of(here), tree_of(PHRASES.parent)
    called = nmt_train(file, "--check")
    assert called.code == 0
    assert tree_of(here) == before
    assert tree_of(PHRASES.parent) == text
    shown = {line[:18].strip(): line[18:] for line in called.out.splitlines()}
    assert shown["training text"] == "60 pairs read, 60 kept"
    assert shown["vocabulary"] == "180 joint tokens"
    assert shown["parameters"].endswith("all of them get a gradient")
    assert shown["an epoch"] == "6 batches, 6 updates"
    assert "memory" in shown
    assert "in 2 updates" in shown["loss"]


def test_check_counts_skipped_pairs_by_reason(experiment: dict[str, Any], here: Path) -> None:
    for side in ("de", "en"):
        lines = lines_of(PHRASES.with_suffix(f".{side}"))
        lines[4] = "" if side == "de" else lines[4]
        lines[9] = "x " * 2000 if side == "en" else lines[9]
        (here / f"odd.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    experiment["data"]["train"] = "odd"
    called = nmt_train(write_experiment(here / "a.yaml", experiment), "--check")
    assert (
        "60 pairs read, 58 kept; 1 with an empty side (line 5); 1 too long (line 10)" in called.out
    )


@pytest.mark.usefixtures("plugin_dir")
def test_check_reports_a_parameter_without_gradient(experiment: dict[str, Any], here: Path) -> None:
    (here / "wasteful.py").write_text(UNUSED_PARAMETER, encoding="utf-8")
    experiment |= {"plugins": ["wasteful.py"]}
    experiment["model"]["score"] = "wasteful"
    called = nmt_train(write_experiment(here / "a.yaml", experiment), "--check")
    assert "1 parameters get no gradient: decoder.attention.score.idle" in called.complaint


@pytest.mark.usefixtures("plugin_dir")
def test_list_and_schema_include_the_plugins_of_a_config(
    experiment: dict[str, Any], here: Path
) -> None:
    (here / "wasteful.py").write_text(UNUSED_PARAMETER, encoding="utf-8")
    experiment |= {"plugins": ["wasteful.py"]}
    experiment["model"]["score"] = "unknown"
    file = write_experiment(here / "a.yaml", experiment)
    assert "wasteful: A score with" not in nmt_train("--list", "score").out
    assert "wasteful: A score with" in nmt_train(file, "--list", "score").out
    assert '"wasteful"' in nmt_train(file, "--schema").out


def _change(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[last] = value


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.encodr", "bilstm", "model.encodr: unknown key; did you mean 'encoder'?"),
        ("model.encoder.hidden_sizes", 3, "did you mean 'hidden_size'?"),
        ("model.score", "addditive", "did you mean 'additive'?"),
        ("model.score", "dot", "dot"),
        ("training.batch_tokens", 0, "must be at least 1 or 'auto', got 0"),
        ("training.ema", 1.0, "must be less than 1"),
        ("training.epochs", None, "training: has no end"),
        (
            "training.schedule",
            {"type": "cosine", "steps": 5, "warmup": 9},
            "warmup: 9 must be less than steps: 5",
        ),
        (
            "training.early_stopping",
            {"metric": "ter"},
            "must be one of loss, chrf, bleu, got 'ter'",
        ),
        ("plugins", ["nowhere.py"], "plugins: not found: "),
    ],
)
def test_an_error_in_the_file_is_reported_with_its_line(
    key: str, value: Any, words: str, check: bool, experiment: dict[str, Any], here: Path
) -> None:
    _change(experiment, key, value)
    if key == "training.start_from":
        del experiment["data"]["vocabulary"]
    file = write_experiment(here / "a.yaml", experiment)
    before = tree_of(here)
    called = nmt_train(file, *["--check"] * check)
    assert words in called.complaint
    number = called.complaint.removeprefix(f"nmt-train: {file}:").split(":")[0]
    line = lines_of(file)[int(number) - 1]
    assert any(name in line for name in (*key.split("."), "metric"))
    assert tree_of(here) == before


def _write_text(folder: Path, name: str, source: bytes, target: bytes) -> None:
    (folder / f"{name}.de").write_bytes(source)
    (folder / f"{name}.en").write_bytes(target)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("data.train", "missing", "missing.de: not found"),
        ("data.valid", "missing", "missing.de: not found"),
        ("data.train", "unequal", "unequal.de: has 3 lines, but"),
        ("data.train", "latin", "latin.de:2: byte 2 is not UTF-8 (0xfc)"),
        ("data.train", "empty", "is empty"),
        ("data.valid", "empty", "empty"),
        ("data.vocabulary.size", 5000, "vocabulary size 5000 is too large"),
        ("data.vocabulary.size", 10, "vocabulary size 10 is too small"),
        ("training.precision", "fp16", "fp16 requires a GPU"),
        ("training.precision", "tf32", "tf32 requires a GPU; use bf16 or fp32 on a CPU"),
        ("training.start_from", "nowhere", "nowhere"),
    ],
)
def test_an_error_in_the_data_creates_no_run(
    key: str, value: Any, words: str, check: bool, experiment: dict[str, Any], here: Path
) -> None:
    _write_text(here, "unequal", b"a\nb\nc\n", b"a\nb\n")
    _write_text(here, "latin", b"a\nf\xfcr\n", b"a\nfor\n")
    _write_text(here, "empty", b"", b"")
    if key == "training.start_from":
        del experiment["data"]["vocabulary"]
    _change(experiment, key, value)
    file = write_experiment(here / "a.yaml", experiment)
    before = tree_of(here)
    called = nmt_train(file, *["--check"] * check)
    assert words in called.complaint
    # A mistake in the text is located there, all others in the experiment file.
    if value not in ("unequal", "latin") and (key, value) != ("data.valid", "empty"):
        name = key.split(".")[-1]
        number = 1 + next(i for i, line in enumerate(lines_of(file)) if f"{name}:" in line)
        assert called.complaint.startswith(f"nmt-train: {file}:{number}: {key}: ")
    assert tree_of(here) == before
    assert not (here / "runs" / "a").exists()


def test_a_missing_device_is_reported(
    experiment: dict[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    file = write_experiment(here / "a.yaml", experiment)
    assert "torch finds no GPU" in nmt_train(file, "--device", "cuda").complaint
    assert not (here / "runs" / "a").exists()


def test_several_errors_are_printed_on_one_line_each(
    experiment: dict[str, Any], here: Path
) -> None:
    experiment["model"]["encodr"] = 1
    experiment["training"]["batch_tokens"] = "many"
    called = nmt_train(write_experiment(here / "a.yaml", experiment))
    assert called.code == 2
    assert [line.split(":")[0] for line in called.err.splitlines()] == ["nmt-train", "nmt-train"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "CONFIG.yaml is required"),
        (["nowhere.yaml"], "nowhere.yaml"),
        (["a.yaml", "training.epochs"], "write section.key=value"),
        (["a.yaml", "training.epoch=3"], "did you mean 'epochs'?"),
        (["a.yaml", "--devise", "cpu"], "--devise"),
        (["a.yaml", "--device", "tpu"], "tpu"),
        (["--list", "scores"], "did you mean 'score'?"),
        (["a.yaml", "--run", "a.yaml"], "is a file"),
        (["a.yaml", "--run", "a.yaml/run"], "cannot be created"),
        (["a.yaml", "--run", "full"], "is not empty and holds no run"),
    ],
)
def test_a_user_error_is_one_line(
    arguments: list[str], words: str, experiment: dict[str, Any], here: Path
) -> None:
    write_experiment(here / "a.yaml", experiment)
    (here / "full").mkdir()
    (here / "full" / "thesis.txt").write_text("precious")
    before = tree_of(here)
    assert words in nmt_train(*arguments).complaint
    assert tree_of(here) == before


def test_overrides_may_precede_and_follow_options(experiment: dict[str, Any], here: Path) -> None:
    file = write_experiment(here / "a.yaml", experiment)
    called = nmt_train("training.epochs=0", file, "--run", "r")
    assert called.code == 2
    called = nmt_train(file, "training.epochs=0", "--run", "r", "model.embedding-size=0")
    assert called.code == 2
    assert "training.epochs: must be at least 1" in called.err
    assert "model.embedding_size: must be at least 1" in called.err


def test_a_corrected_error_requires_no_restart(experiment: dict[str, Any], here: Path) -> None:
    experiment["training"] |= {"epochs": None, "steps": 1}
    experiment["evaluation"] = {"samples": 0, "pictures": 0}
    experiment["search"] = {"beam_size": 1, "max_length": 3}
    file = write_experiment(here / "a.yaml", experiment)
    assert nmt_train(file, "data.train=nowhere").code == 2
    assert nmt_train(file).code == 0
    assert (here / "runs" / "a" / "checkpoints" / "last").is_dir()


def test_the_log_is_written_to_standard_error_only(trained: Path) -> None:
    file = trained.parents[1] / "tiny.yaml"
    here = os.getcwd()
    os.chdir(file.parent)
    try:
        called = nmt_train("tiny.yaml")
    finally:
        os.chdir(here)
    assert called.code == 0
    assert called.out == ""
    assert "nothing left to do: 25 epochs are done" in called.err
