"""Token projections are computed once per token and equal those of the function."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import torch
from torch import Tensor

from nmt.inference.token_cache import TokenProjectionCache


def test_each_row_is_computed_once() -> None:
    computed: list[int] = []

    def project(tokens_n: Tensor) -> tuple[Tensor, Tensor]:
        computed.extend(tokens_n.tolist())
        return tokens_n[:, None] * torch.tensor([1.0, 2.0]), -tokens_n[:, None].double()

    cache = TokenProjectionCache(project, 9)
    for tokens in ([3, 1, 3], [1, 3], [8, 3, 0], [0]):
        tokens_n = torch.tensor(tokens)
        for found, expected in zip(cache(tokens_n), project(tokens_n), strict=True):
            assert torch.equal(found, expected) and found.dtype == expected.dtype
        del computed[-len(tokens) :]  # by the call for the expected value
    assert computed == [1, 3, 0, 8]


def test_concurrent_threads_get_the_same_rows_as_one_thread() -> None:
    together = Barrier(2)

    def project(tokens_n: Tensor) -> tuple[Tensor]:
        with suppress(BrokenBarrierError):  # the lock admits one thread only
            together.wait(timeout=0.3)
        return (1.0 + tokens_n[:, None].expand(-1, 4),)

    cache = TokenProjectionCache(project, 5)
    with ThreadPoolExecutor(2) as pool:
        found = [rows_n4 for (rows_n4,) in pool.map(cache, [torch.tensor([1]), torch.tensor([2])])]
    assert together.broken, "two threads computed rows at the same time"
    again = cache(torch.tensor([1, 2]))[0]
    assert torch.cat(found)[:, 0].tolist() == again[:, 0].tolist() == [2.0, 3.0]
