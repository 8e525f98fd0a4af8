"""What a function makes of pieces, kept from the first time that it is asked for."""

from collections.abc import Callable
from threading import Lock

import torch
from jaxtyping import Int
from torch import Tensor


class KeptRows:
    """A table of a row a piece, filled as pieces come up.

    Few pieces make up most of a text, so nearly all rows are soon looked up. Memory is taken for
    rows that were asked for, and addresses alone for the others. Threads may ask at the same time.

    Args:
        function: pieces -> tensors with a row for each, which depends on nothing else
        pieces: how many there are
    """

    def __init__(
        self, function: Callable[[Int[Tensor, " n"]], tuple[Tensor, ...]], pieces: int
    ) -> None:
        self._function = function
        self._known_v = torch.zeros(pieces, dtype=torch.bool)
        self._rows: tuple[Tensor, ...] = ()
        self._learning = Lock()

    def __call__(self, pieces_n: Int[Tensor, " n"]) -> tuple[Tensor, ...]:
        """What the function makes of these."""
        if not self._known_v[pieces_n].all():
            with self._learning:
                self._learn(torch.unique(pieces_n[~self._known_v[pieces_n]]))
        return tuple(rows.index_select(0, pieces_n) for rows in self._rows)

    def _learn(self, new: Int[Tensor, " n"]) -> None:
        if not len(new):
            return  # another thread was faster
        made = self._function(new)
        if not self._rows:
            pieces = len(self._known_v)
            self._rows = tuple(part.new_empty(pieces, *part.shape[1:]) for part in made)
        for rows, part in zip(self._rows, made, strict=True):
            rows[new] = part
        self._known_v[new] = True  # at last: who sees it reads the rows
