"""Rows are made once for each piece, and are those of the function."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import torch
from torch import Tensor

from nmt.model.layers.kept import KeptRows


def test_every_row_is_made_once_and_looked_up_ever_after() -> None:
    asked: list[int] = []

    def function(pieces_n: Tensor) -> tuple[Tensor, Tensor]:
        asked.extend(pieces_n.tolist())
        return pieces_n[:, None] * torch.tensor([1.0, 2.0]), -pieces_n[:, None].double()

    kept = KeptRows(function, 9)
    for pieces in ([3, 1, 3], [1, 3], [8, 3, 0], [0]):
        pieces_n = torch.tensor(pieces)
        for found, expected in zip(kept(pieces_n), function(pieces_n), strict=True):
            assert torch.equal(found, expected) and found.dtype == expected.dtype
        del asked[-len(pieces) :]  # what was expected was asked for here, not by the table
    assert asked == [1, 3, 0, 8]


def test_threads_that_ask_at_once_get_what_one_would() -> None:
    together = Barrier(2)

    def function(pieces_n: Tensor) -> tuple[Tensor]:
        with suppress(BrokenBarrierError):  # nobody else is let in
            together.wait(timeout=0.3)
        return (1.0 + pieces_n[:, None].expand(-1, 4),)

    kept = KeptRows(function, 5)
    asked = [torch.tensor([1]), torch.tensor([2])]
    with ThreadPoolExecutor(2) as pool:
        found = [rows_n4 for (rows_n4,) in pool.map(kept, asked)]
    assert together.broken, "two threads were at the table at once"
    again = kept(torch.tensor([1, 2]))[0]
    assert torch.cat(found)[:, 0].tolist() == again[:, 0].tolist() == [2.0, 3.0]
