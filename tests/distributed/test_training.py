"""nmt-train as several processes that torchrun starts, on the CPU."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.commands import lines_of, nmt_train, reports, state_of, write_experiment
from tests.conftest import start_ranks, tiny_experiment

FAILING = '''
"""A schedule that makes one process fail at an update, once per start."""

import os
import signal

from nmt.registry import SCHEDULES
from nmt.training.schedules import Constant

FAILURES = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "raise": lambda: 1 / 0,
}


@SCHEDULES.register("failing")
class Failing(Constant):
    """A factor of 1, until the planned failure."""

    def factor(self, step: int) -> float:
        start = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        for planned in os.environ.get("FAIL", "").split()[start : start + 1]:
            rank, update, failure = planned.split(":")
            if os.environ["RANK"] == rank and step == int(update):
                FAILURES[failure]()
        return 1.0
'''


def _ranks(folder: Path, *arguments: object, fail: str = "", **options: Any) -> tuple[int, str]:
    """Train with two processes; return the exit code and standard error.

    Args:
        folder: working directory
        arguments: command line after the config
        fail: the failure after each start, as RANK:UPDATE:FAILURE
        options: further arguments of `start_ranks`
    """
    # The failures of a process are reported and repaired by the real torchrun.
    options |= {"cwd": folder, "environment": {"FAIL": fail}, "forked": not fail}
    process = start_ranks("nmt.cli.train", "a.yaml", *arguments, **options)
    out, err = process.communicate(timeout=600)
    assert out == ""
    return process.returncode, err


def _own_lines(err: str) -> list[str]:
    """Return the lines that the processes themselves, and not torchrun, have written."""
    return [line for line in err.splitlines() if line.startswith("nmt-")]


@pytest.mark.slow
def test_two_processes_make_the_updates_of_one_with_twice_the_batches(tmp_path: Path) -> None:
    tree = tiny_experiment()
    # 7 batches of unequal target tokens an epoch: its last update has one for two processes.
    tree["training"] |= {
        "optimizer": {"type": "sgd", "learning_rate": 0.5},
        "batch_sentences": 9,
        "label_smoothing": 0.1,
        "clip_norm": 0.5,
        "epochs": 2,
        "log_every": 1,
        "validate_every": 4,
    }
    tree["search"] = {"beam_size": 2, "max_length": 8}
    write_experiment(tmp_path / "a.yaml", tree)
    code, err = _ranks(tmp_path, "--run-dir", "two")
    assert code == 0, err
    assert err.count("finished after 2 epochs") == 1
    one = nmt_train(tmp_path / "a.yaml", "--run", tmp_path / "one", "training.accumulate=2")
    assert one.code == 0, one.err
    found, expected = (reports(tmp_path / run) for run in ("two", "one"))
    kinds = [(report.pop("kind"), report["step"]) for report in expected]
    assert [(report.pop("kind"), report["step"]) for report in found] == kinds
    assert kinds[-2:] == [("train", 8), ("valid", 8)]
    for together, alone in zip(found, expected, strict=True):
        assert together == pytest.approx(alone, rel=1e-5)
    start, both, single = (
        load_file(tmp_path / run / "checkpoints" / step / "model.safetensors")
        for run, step in (("one", "4"), ("two", "8"), ("one", "8"))
    )
    moved = max(float((start[name] - single[name]).abs().max()) for name in single)
    apart = max(float((both[name] - single[name]).abs().max()) for name in single)
    assert moved > 0.01
    assert apart < 1e-6
    assert (tmp_path / "two/samples/8.txt").read_text() == (
        tmp_path / "one/samples/8.txt"
    ).read_text()


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an experiment that can fail, and its run `whole` that did not."""
    folder = tmp_path_factory.mktemp("failing")
    (folder / "failing.py").write_text(FAILING, encoding="utf-8")
    tree = tiny_experiment()
    tree["plugins"] = ["failing.py"]
    tree["model"] |= {"embedding_dropout": 0.2, "attention": "hard"}
    tree["training"] |= {
        "batch_sentences": 6,
        "accumulate": 2,
        "ema": 0.9,
        "schedule": "failing",
        "epochs": 4,
        "log_every": 2,
        "validate_every": 5,
        "save_every": 2,
    }
    tree["search"] = {"beam_size": 2, "max_length": 8}
    tree["evaluation"] = {"samples": 0, "pictures": 0}
    write_experiment(folder / "a.yaml", tree)
    code, err = _ranks(folder, "--run-dir", "whole")
    assert code == 0, err
    assert (folder / "whole/checkpoints/last").resolve().name == "12"
    return folder


def _assert_equal(run: Path, other: Path) -> None:
    one, two = (folder / "checkpoints" / "last" for folder in (run, other))
    for name in ("model.safetensors", "training.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert state_of(one) == state_of(two)
    assert reports(run) == reports(other)


@pytest.fixture(scope="module")
def failed(failing: Path) -> tuple[int, str]:
    """Exit code and standard error of the run `failed`, in which one process raised an error."""
    return _ranks(failing, "--run-dir", "failed", fail="1:3:raise")


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_job_with_its_traceback(
    failing: Path, failed: tuple[int, str]
) -> None:
    code, err = failed
    assert code == 1
    assert "ZeroDivisionError: division by zero" in err
    assert "exitcode  : 1" in err
    assert _own_lines(err) == []
    assert (failing / "failed/checkpoints/last").resolve().name == "2"


@pytest.mark.slow
@pytest.mark.usefixtures("failed")
def test_a_run_with_three_failures_equals_the_uninterrupted_one_bit_for_bit(
    failing: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(failing / "failed", run, symlinks=True)
    code, err = _ranks(failing, "--run-dir", run, fail="1:5:terminate 1:9:kill", restarts=2)
    assert code == 0, err
    assert "continuing after update 2" in err
    assert "interrupted after update 5" in err
    assert "exitcode: 130" in err
    assert "continuing after update 5" in err
    assert "exitcode: -9" in err
    assert "continuing after update 8" in err
    _assert_equal(run, failing / "whole")


@pytest.mark.slow
def test_a_non_finite_loss_on_one_rank_is_printed_once_with_its_lines(failing: Path) -> None:
    options = ["training.optimizer.type=sgd", "training.optimizer.learning_rate=1e6"]
    code, err = _ranks(failing, "--run-dir", "high", *options, "training.clip_norm=null")
    assert code == 1
    assert len(_own_lines(err)) == 1, err
    (message,) = _own_lines(err)
    assert "the loss is" in message
    assert "training lines" in message
    assert "exitcode  : 2" in err


@pytest.mark.slow
@pytest.mark.usefixtures("plugin_dir")
def test_another_number_of_processes_continues_with_a_warning(
    failing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(failing / "whole", run, symlinks=True)
    for checkpoint in (run / "checkpoints").iterdir():
        if checkpoint.name.isdecimal() and int(checkpoint.name) > 10:
            shutil.rmtree(checkpoint)
    monkeypatch.chdir(failing)
    called = nmt_train("a.yaml", "--run", run)
    assert called.code == 0, called.err
    assert "the last checkpoint was written by 2 processes, and this run has 1" in called.err
    # Update 10 took the first 4 batches of the last epoch's 10; alone, an update takes 2.
    assert state_of(run / "checkpoints/last")["step"] == 10 + 3
    assert any("finished after 4 epochs" in line for line in lines_of(run / "train.log")[-8:])
