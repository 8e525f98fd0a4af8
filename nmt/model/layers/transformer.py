"""Parts of transformer layers besides attention: feed-forward, residual connection, positions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import sqrt
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, relu

from nmt.errors import UserError
from nmt.model.layers.dropout import dropout
from nmt.model.layers.linear import glorot_linear

Activation = Literal["relu", "gelu"]
Norm = Literal["post", "pre"]
PositionKind = Literal["sinusoid", "learned"]

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"relu": relu, "gelu": gelu}
DEFAULT_POSITIONS = 1024


class LayerDesign(NamedTuple):
    """Options that all layers of a transformer share.

    Attributes:
        width: width of inputs and outputs
        heads: number of attention heads
        feed_forward_size: width of the feed-forward sublayer
        dropout: dropout rate of the output of a sublayer
        attention_dropout: dropout rate of attention weights
        activation: activation of the feed-forward sublayer
        norm: position of the layer norm
    """

    width: int
    heads: int
    feed_forward_size: int
    dropout: float
    attention_dropout: float
    activation: Activation
    norm: Norm


class FeedForward(nn.Module):
    """W₂ f(W₁ x + b₁) + b₂ at every position. Vaswani et al. 2017, eq. 2.

    Args:
        width: width of x and of the output
        size: width of the inner layer
        activation: f
    """

    def __init__(self, width: int, size: int, activation: Activation) -> None:
        super().__init__()
        self.inner, self.outer = glorot_linear(width, size), glorot_linear(size, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, inputs: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        return self.outer(self.activation(self.inner(inputs)))


class Residual(nn.Module):
    """The residual connection and layer norm around a sublayer f, in two halves.

    post: LayerNorm(x + f(x)). Vaswani et al. 2017, section 3.1.
    pre: x + f(LayerNorm(x)). Xiong et al. 2020, figure 1.

    Args:
        design: width, dropout rate of the output of f, and position of the norm
    """

    def __init__(self, design: LayerDesign) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(design.width)
        self.pre, self.dropout = design.norm == "pre", design.dropout

    def enter(self, inputs: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        """Return the input of f."""
        return self.norm(inputs) if self.pre else inputs

    def leave(
        self, inputs: Float[Tensor, "*axes d"], outputs: Float[Tensor, "*axes d"]
    ) -> Float[Tensor, "*axes d"]:
        """Add the output of f to x, and normalize the sum after `post`."""
        total = inputs + dropout(outputs, self.dropout, self.training)
        return total if self.pre else self.norm(total)


def final_norm(design: LayerDesign) -> nn.Module:
    """Return the norm after the top layer, whose output is not normalized yet with `pre`."""
    return nn.LayerNorm(design.width) if design.norm == "pre" else nn.Identity()


class Positions(nn.Module, ABC):
    """One vector per position, added to the embedding.

    Embeddings have unit variance here (see `Embedding`), so they are not multiplied by √m again, as
    in section 3.4 of Vaswani et al. 2017.
    """

    @abstractmethod
    def rows(self, start: int, count: int, like: Tensor) -> Float[Tensor, "t m"]:
        """Return the vectors of positions start, start + 1, ..., on the device of `like`."""

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], start: int = 0
    ) -> Float[Tensor, "b t m"]:
        """Add the vectors of positions start, start + 1, ... to embeddings."""
        rows_tm = self.rows(start, embedded_btm.size(1), embedded_btm)
        return embedded_btm + rows_tm.to(embedded_btm.dtype)


class Sinusoids(Positions):
    """sin(t / 10000^{2i/m}) in unit 2i and the cosine in unit 2i + 1. Vaswani et al. 2017, 3.5.

    Args:
        size: width m
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def rows(self, start: int, count: int, like: Tensor) -> Float[Tensor, "t m"]:
        # In float64: angles rounded to float32 would be off by 1e-3 after 10,000 positions.
        position_t = torch.arange(start, start + count, device=like.device).double()
        # One rate per pair of units.
        rate_x = 10000 ** (-torch.arange(0, self.size, 2, device=like.device).double() / self.size)
        angle_tx = position_t[:, None] * rate_x
        # Sine and cosine alternate; an odd width ends with a sine.
        return torch.stack([angle_tx.sin(), angle_tx.cos()], dim=2).flatten(1)[:, : self.size]


class LearnedPositions(Positions):
    """One parameter vector per position. Gehring et al. 2017, section 3.1.

    Args:
        size: width m
        max_length: number of positions

    Raises:
        UserError: from `forward`, if a sentence is longer
    """

    def __init__(self, size: int, max_length: int) -> None:
        super().__init__()
        self.table_tm = nn.Parameter(torch.empty(max_length, size).normal_(std=1 / sqrt(size)))

    def rows(self, start: int, count: int, like: Tensor) -> Float[Tensor, "t m"]:
        end, known = start + count, self.table_tm.size(0)
        if end > known:
            raise UserError(
                f"a sentence of {end} or more tokens exceeds the {known} learned positions; "
                "shorten it, or train with a larger max_length or positions 'sinusoid'"
            )
        return self.table_tm[start:end]


def make_positions(kind: PositionKind, size: int, max_length: int | None) -> Positions:
    """Build positions of a kind.

    Args:
        kind: sinusoid or learned
        size: width of an embedding
        max_length: number of learned positions (default: 1024)

    Raises:
        ValueError: `max_length` has no effect
    """
    if kind == "learned":
        return LearnedPositions(size, max_length or DEFAULT_POSITIONS)
    if max_length:
        raise ValueError("max_length has no effect with positions 'sinusoid'; remove it")
    return Sinusoids(size)
