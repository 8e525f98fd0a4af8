"""The files of a run directory and their contents."""

import hashlib
import json
import os
from pathlib import Path

from safetensors.torch import load_file

from nmt.config.loader import load_resolved
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.inference.saved_model import load_saved_model
from tests.commands import lines_of, state_of


def test_run_contains_the_documented_files(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()} - {"tensorboard"}  # only where installed
    expected = {"config.yaml", "vocabulary", "checkpoints", "metrics.jsonl", "train.log", ".lock"}
    assert names == expected | {"samples", "attention", "cache", "shortlist.safetensors"}
    checkpoints = trained / "checkpoints"
    # 150 updates, saved every 50; the newest two and the best are kept.
    assert {path.name for path in checkpoints.iterdir()} == {"100", "150", "last", "best"}
    assert os.readlink(checkpoints / "last") == "150"
    assert os.readlink(checkpoints / "best") == "150"
    assert {path.name for path in (trained / "samples").iterdir()} == {
        "50.txt",
        "100.txt",
        "150.txt",
    }
    drawn = {path.name for path in (trained / "attention").iterdir()}
    assert drawn == {f"{step}.{kind}" for step in (50, 100, 150) for kind in ("png", "html")}
    assert len(SentencePieceVocabulary.load(trained / "vocabulary" / "joint.model")) == 180


def test_checkpoint_is_four_files_with_checksums(trained: Path) -> None:
    for step in ("100", "150"):
        folder = trained / "checkpoints" / step
        files = {"model.safetensors", "training.safetensors", "state.json", "SHA256SUMS"}
        assert {path.name for path in folder.iterdir()} == files
        sums = dict(line.split("  ")[::-1] for line in lines_of(folder / "SHA256SUMS"))
        assert set(sums) == files - {"SHA256SUMS"}
        for name, expected in sums.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
        assert state_of(folder)["step"] == int(step)


def test_model_safetensors_contains_every_parameter_once(trained: Path) -> None:
    stored = load_file(trained / "checkpoints" / "last" / "model.safetensors")
    model = load_saved_model(trained, "last").model
    assert stored.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert stored[name].equal(parameter)


def test_saved_config_contains_defaults_and_loads(trained: Path) -> None:
    text = (trained / "config.yaml").read_text(encoding="utf-8")
    for default in (
        "beta2: 0.999",
        "label_smoothing: 0.0",
        "byte_fallback: false",
        "patience: null",
    ):
        assert default in text
    assert load_resolved(trained / "config.yaml").training.keep == 2


def test_metrics_have_documented_keys_and_intervals(trained: Path) -> None:
    rows = [json.loads(line) for line in lines_of(trained / "metrics.jsonl")]
    training = [row for row in rows if row["kind"] == "train"]
    validation = [row for row in rows if row["kind"] == "valid"]
    assert len(rows) == len(training) + len(validation)
    assert [row["step"] for row in training] == [20, 40, 60, 80, 100, 120, 140, 150]
    assert [row["step"] for row in validation] == [50, 100, 150]
    numbers = {"epoch", "loss", "learning_rate", "gradient_norm"}
    timed = {"target_tokens_per_second", "minutes"}
    assert all(set(row) == {"kind", "step"} | numbers | timed for row in training)
    scores = {"loss", "perplexity", "chrf", "bleu", "attention_entropy"}
    assert all(set(row) == {"kind", "step"} | scores for row in validation)
    assert training[-1]["loss"] < training[0]["loss"] / 2
    assert [row["epoch"] for row in training[:4]] == [4, 7, 10, 14]  # 6 updates per epoch


def test_samples_contain_source_reference_and_translation(
    trained: Path, sources: list[str]
) -> None:
    lines = lines_of(trained / "samples" / "150.txt")
    shown = [line.removeprefix("source").strip() for line in lines if line.startswith("source")]
    assert shown == sources[:3]
    assert sum(line.startswith("translation ") for line in lines) == 3
    assert "reference   Good morning!" in lines


def test_attention_plots_are_png_and_html(trained: Path) -> None:
    folder = trained / "attention"
    assert (folder / "150.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "<html" in (folder / "150.html").read_text(encoding="utf-8").lower()


def test_log_contains_corpus_validation_and_end(trained: Path) -> None:
    log = (trained / "train.log").read_text(encoding="utf-8")
    assert "training text: 60 pairs read, 60 kept" in log
    assert "validation after update 150" in log
    assert "finished after 25 epochs" in log
