"""A linear layer of inputs side by side, that can be had in parts."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from nmt.model.layers.int8 import Int8Linear
from nmt.model.layers.packed import PackedLinear, packs_products

Product = type[Int8Linear] | type[PackedLinear]


class ConcatLinear(nn.Module):
    """y = W [x_1; …; x_p] + b = W_1 x_1 + … + W_p x_p + b, whole or some of its terms.

    What a term gives can be known long before the others, or for all hypotheses of a sentence at
    once; then it is had by itself, and left out of the sum.

    Args:
        sizes: widths of x_1 to x_p; the last ones may be 0, inputs that are never given
        weight_vx: first values of W
        bias_v: first values of b; none when not given
        exact: whether the weights stay in floating point, whatever `fix` is asked for

    Attributes:
        is_fixed: whether `fix` has been called
        has_bias: whether there is b
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weight_vx: Tensor,
        bias_v: Tensor | None = None,
        *,
        exact: bool = False,
    ) -> None:
        super().__init__()
        assert weight_vx.size(1) == sum(sizes)
        self.sizes = tuple(size for size in sizes if size)
        self.weight = nn.Parameter(weight_vx)
        self.bias = None if bias_v is None else nn.Parameter(bias_v)
        self.is_fixed, self.has_bias, self.exact = False, bias_v is not None, exact

    @classmethod
    def like_torchs(
        cls, sizes: Sequence[int], outputs: int, *, bias: bool = True
    ) -> "ConcatLinear":
        """One that begins as `torch.nn.Linear` does."""
        begun = nn.Linear(sum(sizes), outputs, bias)
        return cls(sizes, begun.weight.detach(), begun.bias.detach() if bias else None)

    def forward(self, *inputs: Float[Tensor, "*axes _"] | None) -> Float[Tensor, "*axes v"]:
        """The sum of the terms whose inputs are given, and of b; one axis of rows after `fix`."""
        given = [part for part in inputs if part is not None]
        if not self.is_fixed and sum(part.size(-1) for part in given) == self.weight.size(1):
            whole = given[0] if len(given) == 1 else torch.cat(given, dim=-1)
            return linear(whole, self.weight, self.bias)
        assert inputs[0] is not None or not self.has_bias, "b stands beside the first term"
        terms = [
            self._product(number, part) for number, part in enumerate(inputs) if part is not None
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def term(self, number: int, inputs: Float[Tensor, "*axes _"]) -> Float[Tensor, "*axes v"]:
        """W_i x_i alone, for i = number + 1; of the first only where there is no b."""
        assert number > 0 or not self.has_bias, "b stands beside the first term"
        rows_nx = inputs.flatten(0, -2)
        return self._product(number, rows_nx).view(*inputs.shape[:-1], -1)

    def fix(self, product: Product) -> None:
        """Hold the weights as such products do from now on; they learn no more."""
        if self.exact and product is Int8Linear:
            if not packs_products():
                return
            product = PackedLinear
        parts = torch.split(self.weight, list(self.sizes), dim=1)
        biases = [self.bias] + [None] * (len(parts) - 1)
        self.products = nn.ModuleList(map(product, parts, biases))
        self.is_fixed = True
        del self.weight, self.bias

    def _product(self, number: int, inputs: Tensor) -> Tensor:
        if self.is_fixed:
            fixed: Tensor = self.products[number](inputs)
            return fixed
        start = sum(self.sizes[:number])
        weight_vx = self.weight[:, start : start + self.sizes[number]]
        return linear(inputs, weight_vx, None if number else self.bias)
