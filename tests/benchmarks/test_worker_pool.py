"""Measurements of several contenders, one of which fails, without processes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import worker_process
from harness.text import save_ids
from harness.work import training_flops
from harness.worker_process import Contender, Plan, WorkerPool
from measures.training import training_rows
from nmt.errors import UserError
from workers.ids import Ids, Sizes

SPEED = 7.0  # target tokens per second


class StubWorker:
    """A worker that trains at a fixed speed; those of `failing` fail at a task."""

    failing: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name = name

    def request(self, do: str, **arguments: Any) -> dict[str, Any]:
        if self.failing.get(self.name) == do:
            raise UserError(f"{self.name}: {do} failed")
        prepared = {"parameters": 7, "note": "", "versions": {}}
        return prepared | {"target_tokens": SPEED, "seconds": 1.0, "loss": 1.0}

    def stop(self) -> None:
        pass


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(worker_process, "WorkerProcess", StubWorker)
    ids = save_ids(tmp_path / "ids.npz", 10, [[4]], [[5]], [[6]], np.array([[0]]))
    return Plan(Sizes(), ids, 1, "cpu", 1, 3, 1, tmp_path, peaks={"fp32": 1e9})


@pytest.mark.parametrize("task", ["prepare", "train"])
def test_contender_that_fails_is_left_out_and_the_others_are_measured(
    plan: Plan, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StubWorker, "failing", {"eole fp32": task})
    with WorkerPool([Contender("nmt"), Contender("eole"), Contender("joeynmt")], plan) as pool:
        rows = training_rows(pool)
    assert [(row.contender, list(row.values)) for row in rows] == [
        ("nmt fp32", [SPEED] * 3),
        ("joeynmt fp32", [SPEED] * 3),
        ("eole fp32", []),
    ]
    assert rows[1].ratios == [1.0] * 3
    assert rows[2].note == f"not measured: eole fp32: {task} failed"


def test_failure_of_our_worker_is_an_error(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StubWorker, "failing", {"nmt fp32": "train"})
    with (
        WorkerPool([Contender("nmt"), Contender("eole")], plan) as pool,
        pytest.raises(UserError, match="nmt fp32: train failed"),
    ):
        training_rows(pool)


def test_share_of_the_peak_is_speed_times_work_per_token(plan: Plan) -> None:
    with WorkerPool([Contender("nmt"), Contender("nmt", "bf16")], plan) as pool:
        measured, unknown = training_rows(pool)
    assert measured.share == pytest.approx(SPEED * training_flops(plan.sizes, Ids(plan.ids)) / 1e9)
    assert unknown.share is None
