"""Opening of a run directory that cannot be written to."""

import errno
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from nmt.config.loader import load_experiment
from nmt.errors import UserError
from nmt.storage.lock import RunLock
from nmt.storage.open_run import open_run_dir
from tests.commands import write_experiment


@pytest.mark.parametrize("exists", [True, False])
def test_failing_lock_leaves_no_new_directory(
    exists: bool, experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: FileLock) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    if exists:
        (tmp_path / "run").mkdir()
    loaded = load_experiment(write_experiment(tmp_path / "a.yaml", experiment))
    opening = open_run_dir(tmp_path / "run", loaded.experiment, restart=False, lock=RunLock())
    with pytest.raises(UserError, match=r"\.lock: cannot be written: No space left"), opening:
        pass
    assert (tmp_path / "run").exists() == exists


@pytest.mark.parametrize("is_data", [True, False])
def test_name_that_is_not_utf_8_is_refused_before_training(
    is_data: bool, experiment: dict[str, Any], tmp_path: Path
) -> None:
    loaded = load_experiment(write_experiment(tmp_path / "a.yaml", experiment)).experiment
    name = "run"
    if is_data:
        loaded.data.train[0] = loaded.data.train[0].model_copy(update={"path": "corpus\udcff"})
    else:
        name = "run\udcff"
    opening = open_run_dir(tmp_path / name, loaded, restart=False, lock=RunLock())
    place = "data.train" if is_data else "--run"
    with pytest.raises(UserError, match=rf"^{place}: .*\\udcff is not UTF-8; rename"), opening:
        pass
    assert not (tmp_path / name).exists()
