"""Rows are made once for each piece, and are those of the function."""

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
