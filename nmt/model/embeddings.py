"""Embeddings of tokens."""

from math import sqrt

from jaxtyping import Float, Int
from torch import Tensor, nn

from nmt.model.layers.dropout import dropout as apply_dropout


class Embedding(nn.Module):
    """A table with one vector per token, initialized with N(0, 1).

    With a smaller initialization, such as N(0, 1/m), the gates receive small inputs, and the same
    model needs several times as many updates. A table that is also the output layer contains
    N(0, 1/m), so that logits begin at unit scale, and its vectors are multiplied by √m; Vaswani et
    al. 2017, section 3.4.

    Args:
        tokens: size of the vocabulary
        size: width m
        dropout: dropout rate
        tied: whether the table is also the output layer
    """

    def __init__(self, tokens: int, size: int, dropout: float = 0.0, *, tied: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, size)
        self.scale = sqrt(size) if tied else 1.0
        # N(0, 1), or N(0, 1/m) for a tied table.
        nn.init.normal_(self.table.weight, std=1 / self.scale)
        self.dropout = dropout

    @property
    def weight(self) -> Float[Tensor, "v m"]:
        """The table, one row per token."""
        return self.table.weight

    def forward(self, tokens: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes m"]:
        return apply_dropout(self.scale * self.table(tokens), self.dropout, self.training)
