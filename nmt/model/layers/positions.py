"""Where a piece stands in its sentence, added to its embedding."""

from abc import ABC, abstractmethod
from math import sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.errors import UserError

Kind = Literal["sinusoid", "learned"]


class Positions(nn.Module, ABC):
    """A vector for each position, as wide as an embedding.

    Embeddings have units of variance one when they come here (see `Embedding`), so they are not
    multiplied by √m once more, as section 3.4 of Vaswani et al. 2017 would have it.
    """

    @abstractmethod
    def rows(self, start: int, count: int, like: Tensor) -> Float[Tensor, "t m"]:
        """The vectors of positions start, start + 1, ..., on the device of `like`."""

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], start: int = 0
    ) -> Float[Tensor, "b t m"]:
        """Embeddings plus positions; the first of them stands at `start`."""
        rows_tm = self.rows(start, embedded_btm.size(1), embedded_btm)
        return embedded_btm + rows_tm.to(embedded_btm.dtype)


class Sinusoids(Positions):
    """sin(t / 10000^{2i/m}) in unit 2i, the cosine in unit 2i + 1. Vaswani et al. 2017, 3.5.

    Args:
        size: width m
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def rows(self, start: int, count: int, like: Tensor) -> Float[Tensor, "t m"]:
        position_t = torch.arange(start, start + count, device=like.device).double()
        rate_i = 10000 ** (-torch.arange(0, self.size, 2, device=like.device).double() / self.size)
        angle_ti = position_t[:, None] * rate_i
        return torch.stack([angle_ti.sin(), angle_ti.cos()], dim=2).flatten(1)[:, : self.size]


class LearnedPositions(Positions):
    """A parameter for each position. Gehring et al. 2017, section 3.1.

    Args:
        size: width m
        max_length: positions that there are

    Raises:
        UserError: from `forward`, when a sentence is longer
    """

    def __init__(self, size: int, max_length: int) -> None:
        super().__init__()
        self.table_tm = nn.Parameter(torch.empty(max_length, size).normal_(std=1 / sqrt(size)))

    def rows(self, start: int, count: int, like: Tensor) -> Float[Tensor, "t m"]:
        end, known = start + count, self.table_tm.size(0)
        if end > known:
            raise UserError(
                f"a sentence of {end} pieces or more goes beyond the {known} positions that are "
                "learned; shorten it, or train with a larger max_length or positions 'sinusoid'"
            )
        return self.table_tm[start:end]


def make_positions(kind: Kind, size: int, max_length: int | None) -> Positions:
    """Positions of this kind; learned ones are 1024 when no other number is given.

    Raises:
        ValueError: when `max_length` has no effect
    """
    if kind == "learned":
        return LearnedPositions(size, max_length or 1024)
    if max_length:
        raise ValueError("max_length is that of learned positions, and sinusoids have no end")
    return Sinusoids(size)
