"""Embedding lookup whose gradient on a GPU is a sum per token, in parallel over all tokens.

torch's own kernel for batches of up to some thousand tokens has one program for 32 units, which
adds up the vectors of all tokens one after another.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

from nmt.data.batch import TokenGroups
from nmt.kernels import compiles_kernels, run_or_fall_back


def embed(
    tokens: Int[Tensor, "*axes"], table_vm: Float[Tensor, "v m"], groups: TokenGroups
) -> Float[Tensor, "*axes m"]:
    """Look up tokens in a table.

    Args:
        tokens: token ids
        table_vm: one vector per token
        groups: the groups of these tokens
    """
    if not compiles_kernels(table_vm.device) or table_vm.dtype == torch.float64:
        return embedding(tokens, table_vm)
    embedded: Tensor = _Embedding.apply(  # type: ignore[no-untyped-call]
        tokens, table_vm, *groups
    )
    return embedded


class _Embedding(Function):
    """Lookup with a gradient by `embedding_kernel`."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, table_vm: Tensor, order_n: Tensor, starts_x: Tensor
    ) -> Tensor:
        ctx.save_for_backward(tokens, order_n, starts_x)
        ctx.vocabulary = len(table_vm)
        return embedding(tokens, table_vm)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_embedded: Tensor) -> tuple[Tensor | None, ...]:
        from nmt.model.layers.embedding_kernel import table_gradient

        tokens, *groups = ctx.saved_tensors
        d_table_vm = run_or_fall_back(
            lambda: table_gradient(
                d_embedded.flatten(0, -2), tokens.flatten(), TokenGroups(*groups), ctx.vocabulary
            ),
            lambda: torch.ops.aten.embedding_dense_backward(
                d_embedded, tokens, ctx.vocabulary, -1, False
            ),
        )
        return None, d_table_vm, None, None
