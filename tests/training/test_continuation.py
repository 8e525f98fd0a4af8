"""Changes between two starts of a run: those that are allowed, and those that are errors."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from nmt.errors import UserError
from nmt.search.translator import Translator
from nmt.storage.lock import RunLock
from nmt.training.hooks import SaveCheckpoint
from tests.commands import (
    PHRASES,
    Called,
    forget_inputs,
    lines_of,
    nmt_train,
    nmt_translate,
    reports,
    state_of,
    tree_of,
    write_experiment,
)
from tests.conftest import tiny_experiment

Change = Callable[[Path], None]


def _write(folder: Path) -> Path:
    """Write an experiment of four updates, with its text in two shards."""
    for number in (1, 2):
        for side in ("de", "en"):
            lines = lines_of(PHRASES.with_suffix(f".{side}"))[20 * number - 20 : 20 * number]
            (folder / f"train-{number}.{side}").write_text("\n".join(lines) + "\n", "utf-8")
    for side in ("de", "en"):
        shutil.copy(folder / f"train-1.{side}", folder / f"valid.{side}")
    (folder / "parts.py").write_text("WORDS = 1\n")
    tree: dict[str, Any] = tiny_experiment()
    tree["data"] |= {"train": "train-*", "valid": "valid"}
    tree["data"]["vocabulary"] = {"size": 120, "joint": False}
    tree["plugins"] = ["parts.py"]
    tree["training"] |= {"epochs": None, "steps": 4, "validate_every": 2, "keep": 5}
    tree["evaluation"] = {"samples": 0, "pictures": 0}
    tree["search"] = {"beam_size": 1, "max_length": 5}
    return write_experiment(folder / "a.yaml", tree)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the experiment a.yaml, its text and its finished run."""
    folder = tmp_path_factory.mktemp("finished")
    called = nmt_train(_write(folder), "--run", folder / "run")
    assert called.code == 0, called.err
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of that directory in another place."""
    return shutil.copytree(finished, tmp_path / "project", symlinks=True)


def _train(project: Path, *overrides: str) -> Called:
    return nmt_train(project / "a.yaml", *overrides, "--run", project / "run")


def _edit(name: str, old: bytes, new: bytes) -> Change:
    def change(project: Path) -> None:
        data = (project / name).read_bytes()
        assert old in data
        time = (project / name).stat().st_mtime_ns
        (project / name).write_bytes(data.replace(old, new, 1))
        os.utime(project / name, ns=(time, time))

    return change


def _cut(name: str) -> Change:
    def change(project: Path) -> None:
        for side in ("de", "en"):
            file = project / f"{name}.{side}"
            file.write_text("\n".join(lines_of(file)[:10]) + "\n", encoding="utf-8")

    return change


def _flip_byte(name: str) -> Change:
    def change(project: Path) -> None:
        data = bytearray((project / name).read_bytes())
        data[-5] ^= 1  # in the table of normalization, which stays a valid model
        (project / name).write_bytes(bytes(data))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_edit("train-2.en", b"e", b"a"), "the training text has changed since update 4 (40 pairs"),
        (_cut("train-2"), "40 pairs, now 30; train-2.de of"),
        (_cut("valid"), "the validation text has changed since update 4 (20 pairs, now 10"),
        (_flip_byte("run/vocabulary/source.model"), "source.model: has changed since"),
        (_flip_byte("run/vocabulary/target.model"), "target.model: has changed since"),
        (_edit("parts.py", b"1", b"2"), "parts.py: has changed since"),
        (_edit("a.yaml", b"0.01", b"0.02"), "learning_rate: 0.02"),
    ],
    ids=["edited", "cut", "validation", "source", "target", "plugin", "config"],
)
@pytest.mark.parametrize("overrides", [(), ("training.steps=6",)], ids=["same", "longer"])
def test_changed_input_is_refused_with_the_change_and_the_remedy(
    change: Change, words: str, overrides: tuple[str, ...], project: Path
) -> None:
    change(project)
    before = tree_of(project / "run" / "checkpoints"), (project / "run/config.yaml").read_bytes()
    called = _train(project, *overrides)
    assert words in called.complaint
    assert "--restart" in called.complaint
    after = tree_of(project / "run" / "checkpoints"), (project / "run/config.yaml").read_bytes()
    assert after == before


def test_moved_project_continues_and_its_config_is_updated(project: Path) -> None:
    called = _train(project, "training.steps=6", "training.log_every=1")
    assert called.code == 0, called.err
    assert "continuing after update 4" in called.err
    log = (project / "run" / "train.log").read_text(encoding="utf-8")
    assert "+ training.steps: 6" in log
    assert f"+ data.valid: {project / 'valid'}" in log
    config = (project / "run" / "config.yaml").read_text(encoding="utf-8")
    assert "steps: 6" in config
    assert str(project / "valid") in config


def test_run_without_a_checkpoint_starts_over_with_another_text(project: Path) -> None:
    shutil.rmtree(project / "run" / "checkpoints")
    _cut("train-2")(project)
    called = _train(project, "training.seed=3", "training.steps=1")
    assert called.code == 0, called.err
    fresh = nmt_train(
        project / "a.yaml", "training.seed=3", "training.steps=1", "--run", project / "fresh"
    )
    assert fresh.code == 0, fresh.err
    for name in ("vocabulary/source.model", "checkpoints/1/model.safetensors"):
        assert (project / "run" / name).read_bytes() == (project / "fresh" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_edit("run/config.yaml", b"beam_size: 1", b"beam_size: 3"), r"beam_size: 1; \+ .*: 3"),
        (_flip_byte("run/vocabulary/source.model"), "source.model: has changed"),
        (_flip_byte("run/vocabulary/target.model"), "target.model: has changed"),
    ],
    ids=["config", "source", "target"],
)
def test_translation_with_a_changed_input_is_refused(
    change: Change, words: str, project: Path
) -> None:
    change(project)
    called = nmt_translate("-m", project / "run", "--trust-plugins", given="Hallo\n")
    assert re.search(words, called.complaint)
    assert "copy the run again" in called.complaint
    with pytest.raises(UserError, match=words):
        Translator.load(project / "run", trust_plugins=True)


def test_edited_config_of_a_run_is_undone_when_training_continues(project: Path) -> None:
    _edit("run/config.yaml", b"beam_size: 1", b"beam_size: 3")(project)
    called = _train(project)
    assert called.code == 0
    assert "was edited" in called.err
    assert "beam_size: 3" in called.err
    assert "beam_size: 1" in (project / "run" / "config.yaml").read_text(encoding="utf-8")


def test_run_of_a_version_without_recorded_inputs_continues_without_warnings(
    finished: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished / "run", tmp_path / "run", symlinks=True)
    forget_inputs(run)
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["data"]["vocabulary"]["normalization"] = "nmt_nfkc"
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    called = nmt_train(finished / "a.yaml", "training.steps=5", "--run", run)
    assert called.code == 0, called.err
    assert "damaged" not in called.err
    assert "inputs" in state_of(run / "checkpoints" / "5")
    called = nmt_translate("-m", run, "--trust-plugins", "--checkpoint", 2, given="Hallo\n")
    assert called.code == 0
    assert "run" not in called.err


def _same_runs(one: Path, two: Path) -> None:
    for link in ("last", "best"):
        first, second = (run / "checkpoints" / link for run in (one, two))
        assert first.resolve().name == second.resolve().name
        for name in ("model.safetensors", "training.safetensors"):
            assert (first / name).read_bytes() == (second / name).read_bytes(), (link, name)
        assert state_of(first) == state_of(second)
    assert reports(one) == reports(two)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("training.steps=5", "training.steps=9"),  # ends between two validations
        ("training.epochs=1", "training.epochs=2"),
        ("training.early_stopping.patience=1", "training.early_stopping.patience=50"),
    ],
)
def test_longer_training_equals_one_that_had_the_limit_from_the_beginning(
    first: str, then: str, finished: Path, tmp_path: Path
) -> None:
    options = [
        "training.log_every=3",
        "training.schedule={type: plateau, patience: 1}",
        "training.optimizer.learning_rate=0.3",
    ]
    if "steps" not in first:
        options.append("training.steps=9")
    if "patience" in first:
        options.append("training.early_stopping.metric=loss")
    continued, whole = tmp_path / "continued", tmp_path / "whole"
    for limit, run in ((first, continued), (then, continued), (then, whole)):
        called = nmt_train(finished / "a.yaml", *options, limit, "--run", run)
        assert called.code == 0, called.err
    _same_runs(continued, whole)


def test_validation_interval_is_fixed_where_the_schedule_depends_on_it(
    finished: Path, tmp_path: Path
) -> None:
    plateau = "training.schedule={type: plateau}"
    arguments = [finished / "a.yaml", "--run", tmp_path / "run", plateau]
    assert nmt_train(*arguments, "training.steps=2").code == 0
    refused = nmt_train(*arguments, "training.steps=4", "training.validate_every=1")
    assert "validate_every: 1" in refused.complaint
    assert nmt_train(*arguments, "training.steps=4").code == 0


def test_run_keeps_its_metric_where_the_default_is_another(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [finished / "a.yaml", "--run", run]
    loss = "training.early_stopping.metric=loss"
    assert nmt_train(*arguments, "training.steps=2", loss).code == 0
    assert nmt_train(*arguments).code == 0
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert config["training"]["early_stopping"]["metric"] == "loss"
    refused = nmt_train(*arguments, "training.early_stopping.metric=chrf")
    assert "early_stopping.metric: chrf" in refused.complaint
    assert nmt_train(*arguments, "--restart", "evaluation.metrics=[bleu]").code == 0
    assert "best bleu 0" in (run / "train.log").read_text(encoding="utf-8")
    unmeasured = nmt_train(*arguments, "training.steps=5", "evaluation.metrics=[ter]")
    assert "evaluation.metrics: the best checkpoint of this run is that of bleu" in (
        unmeasured.complaint
    )


def test_second_process_and_its_restart_are_refused(project: Path) -> None:
    before = tree_of(project / "run")
    with RunLock() as lock:
        lock.acquire(project / "run" / ".lock")
        for options in ([], ["--restart"]):
            called = nmt_train(project / "a.yaml", "--run", project / "run", *options)
            assert f"run: is being trained by process {os.getpid()} on host" in called.complaint
    assert tree_of(project / "run") == before
    assert not (project / "run.old1").exists()


def test_leftovers_of_killed_processes_are_removed_and_stop_no_run(project: Path) -> None:
    run = project / "new"
    (run / ".config.part").mkdir(parents=True)
    called = nmt_train(project / "a.yaml", "--run", run)
    assert called.code == 0, called.err
    (run / "cache" / "writing-abc").mkdir()
    (run / "cache" / ".0123.part").mkdir()
    (run / "checkpoints" / ".9.part").mkdir()
    (run / "checkpoints" / ".best.part").symlink_to("4")
    (run / ".config.yaml.part").write_text("")
    assert nmt_train(project / "a.yaml", "--run", run).code == 0
    left = [
        path for path in run.rglob("*") if path.name.endswith(".part") or "writing" in str(path)
    ]
    assert left == []


@pytest.mark.parametrize("name", ["train.log", "config.yaml", "batch_tokens"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_special_file_in_place_of_a_file_is_one_line(
    name: str, make: Callable[[Path], None], project: Path
) -> None:
    (project / "run" / name).unlink(missing_ok=True)
    make(project / "run" / name)
    assert f"{name}: is not a regular file" in _train(project).complaint


@pytest.mark.parametrize("name", ["samples", "attention", "checkpoints", "cache", "tensorboard"])
def test_file_in_place_of_a_directory_is_one_line(name: str, project: Path) -> None:
    shutil.rmtree(project / "run" / name, ignore_errors=True)
    (project / "run" / name).write_text("")
    assert f"{name}: is not a directory" in _train(project).complaint


def test_files_have_the_modes_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert nmt_train(_write(tmp_path), "training.steps=1", "--run", tmp_path / "run").code == 0
    finally:
        os.umask(before)
    for path in (tmp_path / "run").rglob("*"):
        if not path.is_symlink():
            mode = path.stat().st_mode & 0o777
            assert mode == (0o750 if path.is_dir() else 0o640), path


def test_training_in_another_thread_needs_no_signal_handlers(project: Path) -> None:
    codes: list[int] = []
    overrides = ("training.steps=5",)
    thread = Thread(target=lambda: codes.append(_train(project, *overrides).code))
    thread.start()
    thread.join()
    assert codes == [0]


def test_failed_allocation_in_training_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(hook: SaveCheckpoint, update: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 8 bytes."
        )

    monkeypatch.setattr(SaveCheckpoint, "run", fail)
    called = _train(project, "training.steps=6")
    assert "out of memory: 8 bytes more are needed; lower training.batch_tokens" in called.complaint
