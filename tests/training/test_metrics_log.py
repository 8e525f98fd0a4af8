"""Values that are logged, and the file of metrics."""

import json
import logging
from pathlib import Path

import pytest
import torch

from nmt.errors import UserError
from nmt.storage.run_dir import RunDir
from nmt.training.metrics_log import MetricsLogger, RunningLoss, start_logging
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
        assert one.sums() == (4.75, 5)
        one.reset()
        assert one.state_dict() == {"loss": 0.0, "tokens": 0}


@pytest.mark.parametrize(
    ("data", "kept", "unreadable"),
    [
        (b'{"step": 1}\n{"step": 2}\n', [1, 2], 0),
        (b'{"step": 1}\n{"ste', [1], 0),  # a killed process
        (b'{"step": 1}\n{"step": 2}', [1, 2], 0),
        (b"\0\0\0\0", [], 0),  # a power failure
        (b'{"step": 1}\n\0\0\0{"step": 2}\n', [1, 2], 0),
        (b'{"step": 1}\n{"st\n{"step": 2}\n', [1, 2], 1),
        (b'\xef\xbb\xbf{"step": 1}\n', [1], 0),  # an editor
        (b'{"step": 1}\r\n\r\n{"step": 2}\r\n', [1, 2], 1),
        (b'{"loss": 1}\n[1]\n"step"\n7\n{"step": "2"}\n{"step": 1}\n', [1], 5),
        (b'\xff\xfe\n{"step": 1}\n', [1], 1),
        (b"[" * 100_000 + b'\n{"step": 1}\n', [1], 1),
    ],
)
def test_damaged_metrics_keep_their_readable_lines(
    data: bytes,
    kept: list[int],
    unreadable: int,
    tmp_path: Path,
    log_text: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(data)
    MetricsLogger(RunDir(tmp_path), 9).add("train", 9, {})
    assert [json.loads(line)["step"] for line in lines_of(file)] == [*kept, 9]
    assert len(log_text.records) == (1 if unreadable else 0)
    if unreadable:
        assert f"metrics.jsonl: {unreadable} lines cannot be read" in log_text.text
        assert (tmp_path / "metrics.jsonl.old1").read_bytes() == data


def test_directory_in_place_of_metrics_is_renamed(
    tmp_path: Path, log_text: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    MetricsLogger(RunDir(tmp_path), 9).add("train", 9, {})
    assert len(lines_of(tmp_path / "metrics.jsonl")) == 1
    assert "metrics.jsonl: is not a regular file" in log_text.text
    assert (tmp_path / "metrics.jsonl.old1").is_dir()


def test_reports_that_only_the_end_of_training_added_are_removed(tmp_path: Path) -> None:
    first = MetricsLogger(RunDir(tmp_path), 0)
    for kind, step in (("train", 2), ("train", 3), ("valid", 3)):
        first.add(kind, step, {})
    MetricsLogger(RunDir(tmp_path), 3, unscheduled=["train"])
    assert [json.loads(line) for line in lines_of(tmp_path / "metrics.jsonl")] == [
        {"kind": "train", "step": 2},
        {"kind": "valid", "step": 3},
    ]


def test_log_file_on_a_full_disk_is_a_user_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("requires /dev/full")
    run = RunDir(tmp_path)
    run.log = Path("/dev/full")
    start_logging(run)
    try:
        with pytest.raises(UserError, match="/dev/full: cannot be written: No space left"):
            logging.getLogger("nmt").info("text")
    finally:
        start_logging(run, silent=True)
