"""Values that are logged, and the file of metrics."""

from pathlib import Path

import torch

from nmt.storage.run_dir import RunDir
from nmt.training.metrics_log import MetricsLogger, RunningLoss
from tests.commands import lines_of


def test_metrics_after_the_restored_update_are_removed(tmp_path: Path) -> None:
    first = MetricsLogger(RunDir(tmp_path), 0)
    for step in (2, 4, 6):
        first.add("train", step, {"loss": 1.5})
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"kind": "tra')  # a line that a killed process did not complete
    MetricsLogger(RunDir(tmp_path), 4).add("valid", 4, {"loss": 2.5})
    assert lines_of(tmp_path / "metrics.jsonl") == [
        '{"kind": "train", "step": 2, "loss": 1.5}',
        '{"kind": "train", "step": 4, "loss": 1.5}',
        '{"kind": "valid", "step": 4, "loss": 2.5}',
    ]


def test_silent_metrics_logger_writes_nothing(tmp_path: Path) -> None:
    MetricsLogger(RunDir(tmp_path), 0, silent=True).add("train", 1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_running_loss_continues_from_its_state() -> None:
    running, restored = RunningLoss(), RunningLoss()
    running.add(torch.tensor(3.5), 2)
    restored.load_state_dict(running.state_dict())
    for one in (running, restored):
        one.add(torch.tensor(1.25), 3)
        assert one.take() == (4.75, 5)
        assert one.state_dict() == {"loss": 0.0, "tokens": 0}
