"""The command that runs when training has ended."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from nmt.training.hook import Update
from nmt.training.hooks import SaveCheckpoint
from nmt.training.trainer import Trainer
from tests.commands import nmt_train, write_experiment
from tests.training.conftest import quick

SCRIPT = """
import os, sys
names = ("NMT_STATUS", "NMT_RUN", "NMT_MESSAGE")
open("ended", "w").write("|".join(os.environ[name] for name in names))
sys.exit(3)
"""


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [("finished", 0, "4 updates"), ("interrupted", 130, ""), ("failed", 2, "to allocate 8 bytes")],
)
def test_command_runs_with_the_status_and_its_failure_is_logged(
    status: str,
    code: int,
    message: str,
    experiment: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("script.py").write_text(SCRIPT, encoding="utf-8")
    tree = quick(experiment, at_end=shlex.join([sys.executable, "script.py"]))
    real = Trainer.update

    def disturbed(trainer: Trainer, batch: Any) -> Update:
        trainer.stop.signal_received = status == "interrupted"
        return real(trainer, batch)

    def fail(hook: SaveCheckpoint, update: Update) -> None:
        raise MemoryError("you tried to allocate 8 bytes")

    monkeypatch.setattr(Trainer, "update", disturbed)
    if status == "failed":
        monkeypatch.setattr(SaveCheckpoint, "run", fail)
    called = nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", "run")
    assert called.code == code, called.err
    assert "training.at_end failed with exit code 3" in called.err
    ended = Path("ended").read_text(encoding="utf-8").split("|")
    assert ended[:2] == [status, str(tmp_path / "run")]
    assert message in ended[2]
    if status == "finished":  # nothing is left to do, so nothing ends
        Path("ended").unlink()
        assert nmt_train("a.yaml", "--run", "run").code == 0
        assert not Path("ended").exists()
