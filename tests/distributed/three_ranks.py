"""Collective operations of three processes, each of which runs `main`."""

import time

import torch
from torch import nn

from nmt.distributed.process_group import join
from nmt.distributed.rank import RankInfo


def main(arguments: list[str]) -> None:
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
        assert weight.grad is not None and weight.grad.item() == group.rank
        module(mine).backward()
        assert weight.grad.item() == 2.0  # the mean of 2 * rank

        # 1 + 2^-9 is no number of bf16: each rank rounds a third of it before the sum.
        module = group.wrap(nn.Linear(1, 1, bias=False), compresses_gradients=True)
        module(torch.full((1,), 1 + 2**-9)).backward()
        third = torch.tensor((1 + 2**-9) / 3).bfloat16()
        weight = next(module.parameters())
        assert weight.grad is not None and weight.grad.item() == (third + third + third).item()
    if info.is_first:
        print("done")
