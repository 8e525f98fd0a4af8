"""Pieces as vectors."""

from math import sqrt

from jaxtyping import Float, Int
from torch import Tensor, nn

from nmt.model.layers.dropout import dropout as drop


class Embedding(nn.Module):
    """One vector a piece, whose units are N(0, 1) at first.

    Smaller first values starve the gates: with N(0, 1/m) the same model needs several times the
    updates. A table that is also the output layer holds N(0, 1/m), so that logits start at unit
    scale, and is multiplied by √m when it is read as an embedding; Vaswani et al. 2017,
    section 3.4.

    Args:
        pieces: size of the vocabulary
        size: width m
        dropout: share of units dropped
        tied: whether the table is also the output layer
    """

    def __init__(self, pieces: int, size: int, dropout: float = 0.0, *, tied: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(pieces, size)
        self.scale = sqrt(size) if tied else 1.0
        nn.init.normal_(self.table.weight, std=1 / self.scale)
        self.dropout = dropout

    @property
    def weight(self) -> Float[Tensor, "pieces m"]:
        """The table, one row a piece."""
        return self.table.weight

    def forward(self, tokens: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes m"]:
        return drop(self.scale * self.table(tokens), self.dropout, self.training)
