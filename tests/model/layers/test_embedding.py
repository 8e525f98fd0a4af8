"""The gradient of an embedding table: the Triton kernel in the interpreter, and without kernels."""

from typing import Any

import pytest
import torch
from torch.autograd import backward

from nmt import kernels
from nmt.data.batch import group_tokens
from nmt.kernels import KernelError
from nmt.model.layers import embedding
from nmt.model.layers.embedding import embed
from tests.interpreter import interpreted, needs_triton


@needs_triton
def test_kernel_equals_index_add_in_float64() -> None:
    found = interpreted("tests/model/layers/interpreted_embedding.py")
    assert len(found) == 2
    for dtype, (near, exact) in found.items():
        assert any(map(any, exact)) and not all(map(any, exact)), "some tokens do not occur"
        torch.testing.assert_close(
            torch.tensor(near),
            torch.tensor(exact),
            rtol=2**-7 if dtype == "torch.bfloat16" else 1e-6,
            atol=1e-6,
        )


TOKENS_BS = torch.tensor([[3, 1, 3], [0, 3, 1]])


def _table_gradient(with_groups: bool) -> Any:
    table_vm = torch.ones(5, 2, requires_grad=True)
    groups = group_tokens(TOKENS_BS)
    embedded_bsm = (
        embed(TOKENS_BS, table_vm, groups)
        if with_groups
        else torch.nn.functional.embedding(TOKENS_BS, table_vm)
    )
    backward(embedded_bsm, torch.arange(12.0).view(2, 3, 2))
    return table_vm.grad


def test_a_cpu_uses_the_gradient_of_torch() -> None:
    torch.testing.assert_close(_table_gradient(True), _table_gradient(False), rtol=0, atol=0)


@needs_triton
def test_failed_kernel_is_replaced_by_the_gradient_of_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise KernelError("out of resource")

    from nmt.model.layers import embedding_kernel

    monkeypatch.setattr(kernels, "_failures", [])
    monkeypatch.setattr(embedding, "compiles_kernels", lambda device: True)
    monkeypatch.setattr(embedding_kernel, "launch", fail)
    torch.testing.assert_close(_table_gradient(True), _table_gradient(False), rtol=0, atol=0)
    assert len(kernels._failures) == 1
