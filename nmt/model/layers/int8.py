"""A linear layer in 8-bit integers, for translating on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LARGEST = 127


class Int8Linear(nn.Module):
    """y = s_x s_w (x_q · w_q) + b, with weights rounded once and inputs at every call.

    Every output unit has its own scale s_w = max|w| / 127 and every input row its own
    s_x = max|x| / 127, so that a row's result does not depend on its neighbours. Sums of products
    are exact in 32-bit integers.

    Args:
        weight_vd: what is rounded
        bias_v: what is added; nothing when not given
    """

    def __init__(self, weight_vd: Tensor, bias_v: Tensor | None = None) -> None:
        super().__init__()
        weight_vd = weight_vd.detach().float()
        scale_v = weight_vd.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / LARGEST
        self.weight_dv: Tensor
        self.scale_v: Tensor
        self.bias_v: Tensor
        self.register_buffer("weight_dv", (weight_vd / scale_v[:, None]).round().to(torch.int8).t())
        self.register_buffer("scale_v", scale_v)
        bias_v = torch.zeros_like(scale_v) if bias_v is None else bias_v.detach().float()
        self.register_buffer("bias_v", bias_v)

    def forward(self, inputs_nd: Float[Tensor, "n d"]) -> Float[Tensor, "n v"]:
        """The layer's outputs for n rows, in float32."""
        inputs_nd = inputs_nd.float()
        scale_n1 = inputs_nd.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / LARGEST
        rounded_nd = (inputs_nd / scale_n1).round().to(torch.int8)
        products_nv = torch._int_mm(rounded_nd, self.weight_dv)
        return torch.addcmul(self.bias_v, products_nv.float().mul_(scale_n1), self.scale_v)
