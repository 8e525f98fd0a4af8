"""A linear layer whose weight is laid out once for oneDNN, for translating on a CPU."""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

ROWS = 64  # oneDNN lays a weight out for so many rows; it serves any number
EXACT = 1e-5  # relative error that a float32 product may have


class PackedLinear(nn.Module):
    """y = W x + b in float32, with W as oneDNN's kernels read it.

    A product of few rows, such as the hypotheses of one sentence, otherwise spends more than half
    of its time on getting W into that order, at every call. The bits of a row do not depend on how
    many rows there are.

    Args:
        weight_vd: what is laid out
        bias_v: what is added; nothing when not given
    """

    def __init__(self, weight_vd: Tensor, bias_v: Tensor | None = None) -> None:
        super().__init__()
        self.size_bytes = weight_vd.nbytes
        # No buffer: such a tensor can neither be saved nor moved.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight_vd.detach().float(), ROWS)
        self.bias_v: Tensor | None
        self.register_buffer("bias_v", None if bias_v is None else bias_v.detach().float())

    def forward(self, inputs_nd: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes v"]:
        """The layer's outputs."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs_nd, self.weight, self.bias_v, "none", [], ""
        )
        return outputs


@cache
def packs_products() -> bool:
    """Whether torch has these layouts here, and they give float32 products: tried, not believed."""
    generator = torch.Generator().manual_seed(0)
    weight_vd, inputs_nd = (torch.randn(96, 96, generator=generator) for _ in range(2))
    try:
        found = PackedLinear(weight_vd)(inputs_nd)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    exact = inputs_nd.double() @ weight_vd.double().mT
    return bool((found.double() - exact).norm() < EXACT * exact.norm())
