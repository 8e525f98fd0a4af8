"""The feed-forward sublayer of a transformer, and what stands around every sublayer."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, relu

from nmt.model.layers.dropout import dropout
from nmt.model.layers.projection import projection

Activation = Literal["relu", "gelu"]
Norm = Literal["post", "pre"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"relu": relu, "gelu": gelu}


class LayerDesign(NamedTuple):
    """What all layers of a transformer have in common.

    Attributes:
        width: of what goes in and comes out
        heads: of each attention
        feed_forward_size: units of the feed-forward sublayer
        dropout: share of units dropped from a sublayer's output
        attention_dropout: share of weights dropped
        activation: of the feed-forward sublayer
        norm: where the layer norm stands
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
        width: of x and of the output
        size: units between
        activation: f
    """

    def __init__(self, width: int, size: int, activation: Activation) -> None:
        super().__init__()
        self.inner, self.outer = projection(width, size), projection(size, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, inputs: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        return self.outer(self.activation(self.inner(inputs)))


class Residual(nn.Module):
    """What stands around a sublayer f, in two halves.

    post: LayerNorm(x + f(x)). Vaswani et al. 2017, section 3.1.
    pre: x + f(LayerNorm(x)). Xiong et al. 2020, figure 1.

    Args:
        design: width, dropout of f's output, and where the norm stands
    """

    def __init__(self, design: LayerDesign) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(design.width)
        self.pre, self.dropout = design.norm == "pre", design.dropout

    def enter(self, inputs: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        """What f reads."""
        return self.norm(inputs) if self.pre else inputs

    def leave(
        self, inputs: Float[Tensor, "*axes d"], found: Float[Tensor, "*axes d"]
    ) -> Float[Tensor, "*axes d"]:
        """What the next sublayer gets, from x and from what f found."""
        outputs = inputs + dropout(found, self.dropout, self.training)
        return outputs if self.pre else self.norm(outputs)


def last_norm(design: LayerDesign) -> nn.Module:
    """After the top layer: with `pre` nothing has been normalised there yet."""
    return nn.LayerNorm(design.width) if design.norm == "pre" else nn.Identity()
