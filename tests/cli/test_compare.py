"""nmt-compare: training of what is missing, use of what exists, and mistakes."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nmt.cli import compare
from nmt.comparison.significance import resample
from tests.commands import PHRASES, Called, call, nmt_eval, write_experiment
from tests.conftest import tiny_experiment

TEST = ("--test", f"{PHRASES}.de", f"{PHRASES}.en")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few bootstrap samples and small figures, which take less time."""
    few = partial(resample, samples=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmt.comparison.results.resample", few)
        patch.setattr("nmt.evaluation.curves.DPI", 20)
        yield


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, which take most of the time."""
    monkeypatch.setattr("nmt.comparison.figures.write_figures", lambda *_: iter(()))


def _compare(*arguments: object) -> Called:
    return call(compare.main, *arguments, "--threads", 1)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two scores with two seeds."""
    folder = tmp_path_factory.mktemp("study")
    tree = tiny_experiment()
    tree["data"]["vocabulary"] = {"type": "char", "size": 100}
    tree["training"] |= {"epochs": None, "steps": 2, "validate_every": 2}
    tree["evaluation"] = {"samples": 0, "pictures": 0, "metrics": ["chrf"]}
    tree["search"] = {"beam_size": 1, "max_length": 8}
    write_experiment(folder / "tiny.yaml", tree)
    called = _compare(*_arguments(folder))
    assert called.code == 0, called.err
    (folder / "out").write_text(called.out)
    return folder


def _arguments(folder: Path) -> list[object]:
    grid = ("--grid", "model.score=additive,general", "--seeds", 2)
    return [folder / "tiny.yaml", *grid, *TEST, "-o", folder / "out.d"]


def test_grid_is_trained_evaluated_and_written(study: Path) -> None:
    runs = ["additive-seed1", "additive-seed2", "general-seed1", "general-seed2"]
    assert sorted(run.name for run in (study / "out.d" / "runs").iterdir()) == runs
    assert (study / "out").read_text() == (study / "out.d" / "table.md").read_text()
    for name in ("table.tex", "table.csv", "scores.png", "curves.pdf", "attention.png"):
        assert (study / "out.d" / name).stat().st_size
    found = json.loads((study / "out.d" / "results.json").read_text())
    assert found["baseline"] == "additive"
    for system in found["systems"]:
        for run, score in zip(system["runs"], system["scores"]["chrf"]["seeds"], strict=True):
            texts = study / "out.d" / "translations" / f"{Path(run).name}.txt"
            scored = json.loads(nmt_eval(texts, f"{PHRASES}.en", "--metrics", "chrf", "--json").out)
            assert scored["chrf"]["score"] == pytest.approx(score)


@pytest.mark.usefixtures("no_figures")
def test_finished_runs_are_neither_trained_nor_translated_again(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("translated again")

    monkeypatch.setattr("nmt.comparison.measurement._translate", fail)
    called = _compare(*_arguments(study))
    assert called.code == 0, called.err
    assert called.err.count("nothing left to do") == 4
    assert called.out == (study / "out").read_text()
    with pytest.raises(AssertionError, match="translated again"):
        _compare(*_arguments(study), "--beam-size", 2)


@pytest.mark.usefixtures("no_figures")
def test_runs_are_compared_as_they_are(study: Path, tmp_path: Path) -> None:
    runs = sorted((study / "out.d" / "runs").iterdir())
    (tmp_path / "empty").mkdir()
    called = _compare(*runs, tmp_path / "empty", "-o", tmp_path, "--baseline", "general")
    assert called.code == 0, called.err
    assert "empty: is left out, because it has no checkpoint" in called.err
    assert [line.split()[1] for line in called.lines[2:4]] == ["additive", "general"]
    # Without --test, the text is that of the validations.
    assert "the validation text, which also selects the best checkpoints" in called.out


@pytest.mark.usefixtures("no_figures")
def test_failing_run_leaves_the_others_and_is_reported(study: Path, tmp_path: Path) -> None:
    run = study / "out.d/runs/additive-seed1"
    shutil.copytree(run, tmp_path / "runs" / run.name, symlinks=True)
    (tmp_path / "runs" / "general-seed1").mkdir()
    (tmp_path / "runs" / "general-seed1" / "notes").write_text("")
    called = _compare(*_arguments(study)[:3], *TEST, "-o", tmp_path)
    assert called.code == 2
    assert "general-seed1: failed: " in called.err
    assert "is not empty and holds no run" in called.err
    assert "| additive " in called.out and "| general" not in called.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--grid", "a.b=1"], "--grid: has no effect on runs that exist"),
        (["RUN", "--seeds", 2], "--seeds: has no effect on runs that exist"),
        (["RUN", "training.seed=2"], "training.seed=2: has no effect on runs that exist"),
        (["RUN", "tiny.yaml"], "RUN: is no experiment file; compare either"),
        (["a.b=1"], "a.b=1: is not an experiment file or a run"),
        (["missing", "RUN"], "missing: not found"),
        (["FOLDER", "RUN"], "FOLDER: is a file or a bundle; give the directory of the run"),
        (["x.nmt"], "x.nmt: not found"),
        (["RUN", "-o", "RUN"], "RUN: is both input and output"),
        (["RUN", "-o", "RUN/samples"], "RUN/samples: is part of the run RUN"),
        (["RUN", "-o", f"{PHRASES}.de"], f"{PHRASES}.de: is a file; choose a directory"),
        (["RUN", "--test", f"{PHRASES}.de", "SHORT"], "SHORT: 1 lines, but "),
        (["RUN", "--test", "EMPTY", "EMPTY"], "EMPTY: is empty"),
        (["missing.yaml"], "missing.yaml: not found"),
        (["RUN", "--baseline", "x"], "--baseline: no system is named 'x'"),
        (["RUN", "--sentence", 99], "--sentence: the test text has 60 lines"),
        (["RUN", "--test", f"{PHRASES}.de"], "--test: requires SOURCE and at least one REFERENCE"),
        (["RUN", "--beam-size", "0"], "--beam-size: "),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[object], message: str, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "short").write_text("one\n")
    (tmp_path / "empty").write_text("")
    folder = tmp_path / "folder"
    shutil.copytree(trained / "vocabulary", folder / "vocabulary")
    shutil.copy(trained / "config.yaml", folder)
    shutil.copy(trained / "checkpoints" / "best" / "model.safetensors", folder)
    names = {name: str(tmp_path / name.lower()) for name in ("SHORT", "EMPTY", "FOLDER")}
    names["RUN"] = str(trained)

    def replaced(text: object) -> str:
        for name, path in names.items():
            text = str(text).replace(name, path)
        return str(text)

    complaint = _compare(*map(replaced, arguments)).complaint
    assert complaint.startswith(f"nmt-compare: {replaced(message)}")
