"""Linear layers of concatenated inputs, and the initialization of weight matrices."""

from collections.abc import Sequence
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear


class ConcatLinear(nn.Module):
    """y = W [x_1; ...; x_p] + b = W_1 x_1 + ... + W_p x_p + b.

    Each term can also be computed alone, for example once per source sentence, and added later.

    Args:
        sizes: widths of x_1 to x_p; the last ones may be 0, for inputs that are never given
        weight_vx: initial W
        bias_v: initial b; None for a layer without one
    """

    def __init__(
        self, sizes: Sequence[int], weight_vx: Tensor, bias_v: Tensor | None = None
    ) -> None:
        super().__init__()
        assert weight_vx.size(1) == sum(sizes)
        self.sizes = tuple(size for size in sizes if size)
        self.weight = nn.Parameter(weight_vx)
        self.bias = None if bias_v is None else nn.Parameter(bias_v)

    @classmethod
    def with_default_init(
        cls, sizes: Sequence[int], output_size: int, *, bias: bool = True
    ) -> "ConcatLinear":
        """Build a layer that is initialized like `torch.nn.Linear`."""
        layer = nn.Linear(sum(sizes), output_size, bias)
        return cls(sizes, layer.weight.detach(), layer.bias.detach() if bias else None)

    def forward(self, *inputs: Float[Tensor, "*axes _"] | None) -> Float[Tensor, "*axes v"]:
        """Compute the sum of b and of the terms whose inputs are given; x_1 is required with b."""
        given = [x for x in inputs if x is not None]
        if sum(x.size(-1) for x in given) == self.weight.size(1):
            # One product is faster than a sum of products.
            whole = given[0] if len(given) == 1 else torch.cat(given, dim=-1)
            return linear(whole, self.weight, self.bias)
        assert inputs[0] is not None or self.bias is None, "the bias belongs to the first term"
        terms = [self.term(i, x) for i, x in enumerate(inputs) if x is not None]
        return sum(terms[1:], terms[0])

    def term(self, index: int, inputs: Float[Tensor, "*axes _"]) -> Float[Tensor, "*axes v"]:
        """Compute W_i x_i, where `index` counts from 0; the first term includes the bias."""
        # W_i is a block of columns.
        start = sum(self.sizes[:index])
        weight_vx = self.weight[:, start : start + self.sizes[index]]
        return linear(inputs, weight_vx, None if index else self.bias)


def glorot_linear(input_size: int, output_size: int, parts: int = 1) -> nn.Linear:
    """Build a linear layer with Glorot's initialization and a zero bias.

    Args:
        input_size: width of the inputs
        output_size: width of one part of the outputs
        parts: number of parts, such as queries, keys and values; each is initialized on its own
    """
    layer = nn.Linear(input_size, parts * output_size)
    # Glorot bounds depend on both widths of a part, not on those of the stack.
    layer.weight = nn.Parameter(xavier_gates(parts, output_size, input_size))
    nn.init.zeros_(layer.bias)
    return layer


def xavier(rows: int, columns: int) -> Float[Tensor, "rows columns"]:
    """Draw from U(-a, a) with a = sqrt(6 / (rows + columns)). Glorot and Bengio 2010, eq. 16."""
    bound = sqrt(6 / (rows + columns))
    return torch.empty(rows, columns).uniform_(-bound, bound)


def xavier_gates(gates: int, rows: int, columns: int) -> Float[Tensor, "all_rows columns"]:
    """Stack one Glorot matrix per gate: each gate is a layer of its own."""
    bound = sqrt(6 / (rows + columns))
    weight = torch.empty(gates * rows, columns)
    # In place of torch.cat, which on the meta device imports torch's compiler for seconds.
    for gate in weight.chunk(gates):
        gate.uniform_(-bound, bound)
    return weight


def orthogonal_gates(gates: int, size: int) -> Float[Tensor, "rows size"]:
    """Stack one orthogonal matrix per gate. Saxe et al. 2014."""
    weight = torch.empty(gates * size, size)
    for gate in weight.chunk(gates):
        torch.nn.init.orthogonal_(gate)
    return weight
