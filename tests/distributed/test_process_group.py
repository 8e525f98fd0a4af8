"""Collective operations, of a single process and of two."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from nmt.distributed.process_group import SINGLE_PROCESS_GROUP, join
from nmt.distributed.rank import SINGLE_PROCESS, RankInfo
from nmt.errors import UserError

ROOT = Path(__file__).parents[2]


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


PROGRAM = """
    import time
    import torch
    from torch import nn
    from nmt.distributed.process_group import join
    from nmt.distributed.rank import RankInfo

    info = RankInfo.from_environment()
    with join(info, "cpu") as group:
        assert (group.rank, group.world_size) == (info.rank, 3)
        mine = torch.tensor([float(group.rank)])
        assert group.sum(mine).item() == 3.0 and mine.item() == group.rank
        assert group.any(group.rank == 2) and not group.any(False)
        assert group.broadcast(f"of {group.rank}") == "of 0"
        assert group.all_equal("same")
        assert group.all_equal(group.rank) == group.is_first
        assert group.gather(group.rank) == ([0, 1, 2] if group.is_first else [])
        assert group.on_first(lambda: f"by {group.rank}") == "by 0"
        results = group.map(lambda items: [2 * i for i in items], range(7))
        assert results == ([0, 2, 4, 6, 8, 10, 12] if group.is_first else [])
        assert group.map(lambda items: [1] * len(items), "a") == [1] * group.is_first

        with group.first_rank_first():
            if group.is_first:
                time.sleep(0.2)
            entered = time.monotonic()
        entries = group.gather(entered)
        assert not group.is_first or entries[0] < min(entries[1:])

        torch.manual_seed(0)
        module = group.wrap(nn.Linear(1, 1, bias=False))
        with group.no_sync(module):
            module(mine).backward()
        weight = next(module.parameters())
        assert weight.grad.item() == group.rank
        module(mine).backward()
        assert weight.grad.item() == 2.0  # the mean of 2 * rank

        # 1 + 2^-9 is no number of bf16: each rank rounds a third of it before the sum.
        module = group.wrap(nn.Linear(1, 1, bias=False), compresses_gradients=True)
        module(torch.full((1,), 1 + 2**-9)).backward()
        third = torch.tensor((1 + 2**-9) / 3).bfloat16()
        assert next(module.parameters()).grad.item() == (third + third + third).item()
    if info.is_first:
        print("done")
"""


@pytest.mark.slow
def test_operations_of_three_processes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    result = subprocess.run(
        [*torchrun, "--nproc-per-node=3", "program.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
