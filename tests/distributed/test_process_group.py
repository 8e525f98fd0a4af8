"""Collective operations, of a single process and of three."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nmt.distributed.process_group import SINGLE_PROCESS_GROUP, join
from nmt.distributed.rank import SINGLE_PROCESS, RankInfo
from nmt.errors import UserError
from tests.conftest import start_ranks


def test_operations_of_a_single_process_return_their_argument() -> None:
    group, tensor, module = SINGLE_PROCESS_GROUP, torch.ones(2), nn.Linear(1, 1)
    assert (group.rank, group.world_size, group.is_first) == (0, 1, True)
    assert group.wrap(module) is module
    assert group.sum(tensor) is tensor
    assert group.broadcast(tensor) is tensor
    assert (group.any(True), group.any(False)) == (True, False)
    assert group.all_equal({"a": 1})
    assert group.gather("a") == ["a"]
    assert group.on_first(lambda: 7) == 7
    assert group.map(lambda items: [2 * item for item in items], "abc") == ["aa", "bb", "cc"]
    with group.first_rank_first(), group.no_sync(module), join(SINGLE_PROCESS, "cpu") as joined:
        assert joined is group


def test_more_processes_than_gpus_are_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = "process 2 of this machine has no GPU: torch finds 1; start fewer processes"
    with pytest.raises(UserError, match=message), join(RankInfo(1, 2, 1), "auto"):
        pass


@pytest.mark.slow
def test_operations_of_three_processes(tmp_path: Path) -> None:
    job = start_ranks("tests.distributed.three_ranks", cwd=tmp_path, processes=3)
    out, err = job.communicate(timeout=600)
    assert (job.returncode, out) == (0, "done\n"), err
