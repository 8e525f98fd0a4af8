"""What a run writes: its files, reports, checkpoints, and what it does not."""

import ast
import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import nmt
from nmt.config.load import load_resolved
from nmt.data.vocabulary import Vocabulary
from nmt.model.saved import load_model
from nmt.training.trainer import Trainer, Update
from tests.commands import lines_of, nmt_train, reports, state_of, tree_of, write_experiment

PACKAGE = Path(nmt.__file__).parent


def test_a_run_holds_what_it_should(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()} - {"tensorboard"}  # only where installed
    expected = {"config.yaml", "vocabulary", "checkpoints", "metrics.jsonl", "train.log"}
    assert names == expected | {"samples", "attention", "cache"}
    checkpoints = trained / "checkpoints"
    # 150 updates, validated and saved every 50, of which the newest two and the best are kept.
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
    assert len(Vocabulary.load(trained / "vocabulary" / "joint.model")) == 180


def test_a_checkpoint_is_four_files_with_their_checksums(trained: Path) -> None:
    for step in ("100", "150"):
        folder = trained / "checkpoints" / step
        files = {"model.safetensors", "training.safetensors", "state.json", "SHA256SUMS"}
        assert {path.name for path in folder.iterdir()} == files
        sums = dict(line.split("  ")[::-1] for line in lines_of(folder / "SHA256SUMS"))
        assert set(sums) == files - {"SHA256SUMS"}
        for name, expected in sums.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
        assert state_of(folder)["step"] == int(step)


def test_model_safetensors_holds_every_parameter_once(trained: Path) -> None:
    stored = load_file(trained / "checkpoints" / "last" / "model.safetensors")
    model = load_model(trained, "last").model
    assert stored.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert stored[name].equal(parameter)


def test_the_config_says_everything_and_gives_the_same_experiment(trained: Path) -> None:
    text = (trained / "config.yaml").read_text(encoding="utf-8")
    for default in (
        "beta2: 0.999",
        "label_smoothing: 0.0",
        "byte_fallback: false",
        "patience: null",
    ):
        assert default in text
    assert load_resolved(trained / "config.yaml").training.keep == 2


def test_metrics_are_objects_of_two_kinds(trained: Path) -> None:
    rows = [json.loads(line) for line in lines_of(trained / "metrics.jsonl")]
    training = [row for row in rows if row["kind"] == "train"]
    validation = [row for row in rows if row["kind"] == "valid"]
    assert len(rows) == len(training) + len(validation)
    assert [row["step"] for row in training] == [20, 40, 60, 80, 100, 120, 140, 150]
    assert [row["step"] for row in validation] == [50, 100, 150]
    numbers = {"epoch", "loss", "learning_rate", "gradient_norm"}
    timed = {"target_tokens_per_second", "minutes"}
    assert all(set(row) == {"kind", "step"} | numbers | timed for row in training)
    assert all(set(row) == {"kind", "step", "loss", "perplexity", "bleu"} for row in validation)
    assert training[-1]["loss"] < training[0]["loss"] / 2
    assert [row["epoch"] for row in training[:4]] == [3, 6, 10, 13]  # 6 updates an epoch


def test_samples_show_source_reference_and_translation(trained: Path, sources: list[str]) -> None:
    lines = lines_of(trained / "samples" / "150.txt")
    shown = [line.removeprefix("source").strip() for line in lines if line.startswith("source")]
    assert shown == sources[:3]
    assert sum(line.startswith("translation ") for line in lines) == 3
    assert "reference   Good morning!" in lines


def test_pictures_are_pictures(trained: Path) -> None:
    folder = trained / "attention"
    assert (folder / "150.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "<html" in (folder / "150.html").read_text(encoding="utf-8").lower()


def test_the_log_tells_of_the_text_and_of_validation(trained: Path) -> None:
    log = (trained / "train.log").read_text(encoding="utf-8")
    assert "training text: 60 pairs read, 60 kept" in log
    assert "validation after update 150" in log
    assert "finished after 25 epochs" in log


def test_no_file_of_a_run_is_a_pickle(trained: Path) -> None:
    for path in trained.rglob("*"):
        if path.is_file():
            assert not path.read_bytes()[:2].startswith(b"\x80"), path
            assert not zipfile.is_zipfile(path), path


def _uses_pickle(tree: ast.Module) -> list[str]:
    modules = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [n.name for n in names if n.name.split(".")[0] in modules]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in modules:
                found.append(module)
            case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save" as name):
                found.append(f"torch.{name}")
            case ast.ImportFrom(module="torch", names=names):
                found += [n.name for n in names if n.name in ("load", "save")]
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                found.append("allow_pickle")
    return found


def test_the_code_knows_no_pickle() -> None:
    assert _uses_pickle(ast.parse("import pickle\ntorch.load(f)")) == ["pickle", "torch.load"]
    files = list(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    for file in files:
        assert _uses_pickle(ast.parse(file.read_text(encoding="utf-8"))) == [], file


def _quick(experiment: dict[str, Any], **training: Any) -> dict[str, Any]:
    experiment["training"] |= {"epochs": None, "steps": 4, "batch_sentences": 20, **training}
    experiment["evaluation"] = {"samples": 0, "pictures": 0}
    experiment["search"] = {"beam_size": 1, "max_length": 5}
    return experiment


def test_a_changed_config_is_refused_with_the_difference(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    file, run = write_experiment(tmp_path / "a.yaml", _quick(experiment)), tmp_path / "run"
    assert nmt_train(file, "--run", run).code == 0
    before = tree_of(run)
    called = nmt_train(file, "training.seed=7", "training.ema=0.5", "--run", run)
    for part in ("- ", "seed: 1", "seed: 7", "ema: null", "ema: 0.5", "--restart"):
        assert part in called.complaint
    assert f"{run / 'config.yaml'}:" in called.complaint
    assert tree_of(run) == before
    assert nmt_train(file, "training.seed=7", "--run", run, "--restart").code == 0
    assert tree_of(tmp_path / "run.old1") == before
    assert "seed: 7" in (run / "config.yaml").read_text(encoding="utf-8")
    assert nmt_train(file, "--run", run, "--restart").code == 0
    assert (tmp_path / "run.old2").is_dir()


def test_saving_validating_and_reporting_come_when_they_are_due(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = _quick(experiment, steps=7, validate_every=3, save_every=2, log_every=5, keep=10)
    run = tmp_path / "run"
    assert nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run).code == 0
    steps = {
        kind: [r["step"] for r in reports(run) if r["kind"] == kind] for kind in ("train", "valid")
    }
    assert steps == {"train": [5, 7], "valid": [3, 6, 7]}
    saved = {int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit()}
    assert saved >= {2, 4, 6, 7}
    assert saved - {2, 4, 6, 7} <= {3}  # the best so far
    assert not (run / "samples").exists()
    assert not (run / "attention").exists()


def test_the_best_checkpoint_outlives_newer_ones(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = _quick(experiment, steps=6, validate_every=1, keep=2)
    tree["training"]["early_stopping"] = {"metric": "exact"}
    tree["evaluation"]["metrics"] = ["exact"]  # stays 0, so the first is the best
    run = tmp_path / "run"
    assert nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run).code == 0
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"1", "5", "6", "best", "last"}
    assert os.readlink(run / "checkpoints" / "best") == "1"


@pytest.mark.parametrize(
    ("training", "step", "words"),
    [
        ({"steps": 4}, 4, "4 updates"),
        ({"steps": None, "epochs": 2}, 6, "2 epochs"),
        ({"steps": None, "minutes": 3.0}, 3, "3 minutes"),
        ({"steps": 2, "epochs": 9}, 2, "2 updates"),
        (
            {"validate_every": 1, "early_stopping": {"metric": "exact", "patience": 2}},
            3,
            "2 validations without a better exact",
        ),
    ],
)
def test_training_ends_at_the_first_of_its_limits(
    training: dict[str, Any],
    step: int,
    words: str,
    experiment: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    real = Trainer.update

    def minute(trainer: Trainer, group: Any) -> Update:
        clock[0] += 60
        return real(trainer, group)

    monkeypatch.setattr(Trainer, "update", minute)
    monkeypatch.setattr("nmt.training.watch.time.monotonic", lambda: clock[0])
    tree = _quick(experiment, **training)
    tree["evaluation"]["metrics"] = ["exact"]
    run = tmp_path / "run"
    called = nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run)
    assert called.code == 0
    assert f"finished after {words}" in called.err
    assert state_of(run / "checkpoints" / "last")["step"] == step
    assert reports(run)[-1]["kind"] == "valid"
    again = nmt_train(tmp_path / "a.yaml", "--run", run)
    assert again.code == 0
    assert "nothing left to do" in again.err


def test_a_run_that_starts_from_another_has_its_weights_and_vocabulary(
    trained: Path, second: Path
) -> None:
    files = [run / "vocabulary" / "joint.model" for run in (trained, second)]
    assert files[0].read_bytes() == files[1].read_bytes()
    first = [row["loss"] for row in reports(trained) if row["kind"] == "valid"]
    assert next(r["loss"] for r in reports(second) if r["kind"] == "train") < first[0]
    state = state_of(second / "checkpoints" / "last")
    assert state["step"] == 12
    stored = load_file(second / "checkpoints" / "last" / "training.safetensors")
    assert float(stored["optimizer.0.step"]) == 12


def test_the_weights_at_the_start_are_those_of_the_other_run(
    trained: Path, experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = _quick(experiment, steps=1, start_from=str(trained))
    tree["training"]["optimizer"] = {"type": "sgd", "learning_rate": 1e-30}
    run = tmp_path / "run"
    assert nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run).code == 0
    ours, theirs = (load_model(folder).model.state_dict() for folder in (run, trained))
    for name, weight in ours.items():
        assert weight.equal(theirs[name])
