"""The run directory: started, continued, and renamed for a restart."""

from pathlib import Path
from typing import Any

from tests.commands import nmt_train, tree_of, write_experiment
from tests.training.conftest import quick


def test_a_changed_config_is_a_user_error_that_shows_the_difference(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    file, run = write_experiment(tmp_path / "a.yaml", quick(experiment)), tmp_path / "run"
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


def test_a_failed_restart_leaves_the_previous_run_unchanged(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    file, run = write_experiment(tmp_path / "a.yaml", quick(experiment)), tmp_path / "run"
    assert nmt_train(file, "--run", run).code == 0
    before = tree_of(tmp_path)
    for override in ("data.train=nowhere", "training.start_from=nowhere", "data.max_length=1"):
        assert nmt_train(file, override, "--run", run, "--restart").code == 2
        assert tree_of(tmp_path) == before
    assert "nothing left to do" in nmt_train(file, "--run", run).err


def test_a_restart_never_renames_other_files(experiment: dict[str, Any], tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "a.yaml", quick(experiment))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    before = tree_of(tmp_path)
    called = nmt_train(file, "--run", tmp_path / "full", "--restart")
    assert "is not empty and holds no run" in called.complaint
    assert "is a file" in nmt_train(file, "--run", file, "--restart").complaint
    assert tree_of(tmp_path) == before
