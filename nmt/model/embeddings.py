"""Pieces as vectors."""

from math import sqrt

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout as drop


class Embedding(nn.Module):
    """One vector a piece, N(0, 1/√m) at first, so that tied output logits start at unit scale.

    Args:
        pieces: size of the vocabulary
        size: width m
        dropout: share of units dropped
    """

    def __init__(self, pieces: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Embedding(pieces, size)
        nn.init.normal_(self.table.weight, std=1 / sqrt(size))
        self.dropout = dropout

    @property
    def weight(self) -> nn.Parameter:
        """The table, one row a piece."""
        return self.table.weight

    def forward(self, tokens: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes m"]:
        return drop(self.table(tokens), self.dropout, self.training)
