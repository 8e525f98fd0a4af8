"""Tests of `training.recurrence` and the environment variable NMT_RECURRENCE."""

from pathlib import Path
from typing import Any

import pytest

from nmt.native import library
from tests.commands import nmt_train, write_experiment
from tests.training.conftest import quick


def test_recurrence_is_stored_and_logged(experiment: dict[str, Any], tmp_path: Path) -> None:
    file, run = write_experiment(tmp_path / "a.yaml", quick(experiment)), tmp_path / "run"
    assert nmt_train(file, "--run", run).code == 0
    assert "\n  recurrence: auto\n" in (run / "config.yaml").read_text(encoding="utf-8")
    assert "recurrence: fused" in (run / "train.log").read_text(encoding="utf-8")


def test_missing_kernels_are_logged(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "is_available", lambda: False)
    file, run = write_experiment(tmp_path / "a.yaml", quick(experiment)), tmp_path / "run"
    assert nmt_train(file, "--run", run).code == 0
    assert "no kernels in C" in (run / "train.log").read_text(encoding="utf-8")


def test_run_without_the_recurrence_option_continues(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    """A run directory of a version without the option."""
    file, run = write_experiment(tmp_path / "a.yaml", quick(experiment)), tmp_path / "run"
    assert nmt_train(file, "--run", run).code == 0
    config = run / "config.yaml"
    text = config.read_text(encoding="utf-8").replace("  recurrence: auto\n", "")
    config.write_text(text, encoding="utf-8")
    assert "nothing left to do" in nmt_train(file, "--run", run).err
    text = config.read_text(encoding="utf-8")
    assert "  recurrence: auto\n" in text
    changed = nmt_train(file, "training.recurrence=eager", "--run", run)
    assert "- training.recurrence: auto; + training.recurrence: eager" in changed.complaint
    assert config.read_text(encoding="utf-8") == text


def test_environment_overrides_recurrence_with_a_warning(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, run = write_experiment(tmp_path / "a.yaml", quick(experiment)), tmp_path / "run"
    monkeypatch.setenv("NMT_RECURRENCE", "eager")
    assert nmt_train(file, "--run", run).code == 0
    log = (run / "train.log").read_text(encoding="utf-8")
    assert "NMT_RECURRENCE=eager overrides training.recurrence: auto" in log
    assert "recurrence: eager" in log
    assert "\n  recurrence: auto\n" in (run / "config.yaml").read_text(encoding="utf-8")
    monkeypatch.delenv("NMT_RECURRENCE")
    assert nmt_train(file, "--run", run).code == 0, "the same config"


def test_unknown_backend_in_the_environment_is_refused(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NMT_RECURRENCE", "plain")
    called = nmt_train(write_experiment(tmp_path / "a.yaml", quick(experiment)))
    assert "NMT_RECURRENCE=plain: must be one of auto, eager, fused" in called.complaint


def test_fused_recurrence_is_refused_where_unsupported(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["model"]["attention"] = "local_m"
    file = write_experiment(tmp_path / "a.yaml", quick(experiment, recurrence="fused"))
    line = 1 + file.read_text(encoding="utf-8").splitlines().index("  recurrence: fused")
    message = f"{file}:{line}: training.recurrence: the fused recurrence requires"
    assert message in nmt_train(file, "--check").complaint
