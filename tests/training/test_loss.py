"""Chunked cross entropy against torch's own cross entropy on all logits at once."""

from collections.abc import Sequence
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nmt.native import library
from nmt.training.loss import IGNORED, _chunk_loss, chunk_loss, smoothed_cross_entropy

ROWS, WIDTH, VOCABULARY = 10, 4, 7

needs_kernels = pytest.mark.skipif(
    not library.is_available(), reason="the kernels in C were not compiled"
)


def _inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((ROWS, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,))
    tensors = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    outputs_rd, weight_vd, bias_v = (tensor.requires_grad_() for tensor in tensors)
    return outputs_rd, weight_vd, bias_v, torch.randint(0, VOCABULARY, (ROWS,), generator=generator)


def _loss(
    inputs: Sequence[Tensor], targets_r: Tensor, *, smoothing: float = 0.1, chunk: int = 4
) -> tuple[Tensor, Tensor]:
    outputs_rd, weight_vd, bias_v = inputs
    return smoothed_cross_entropy(
        outputs_rd, weight_vd, bias_v, targets_r, smoothing=smoothing, chunk=chunk
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("chunk", [1, 3, 5, ROWS, 1000])
def test_loss_and_gradients_equal_torch_cross_entropy(smoothing: float, chunk: int) -> None:
    *ours, targets_r = _inputs()
    *theirs, _ = _inputs()
    loss, nll_r = _loss(ours, targets_r, smoothing=smoothing, chunk=chunk)
    logits_rv = linear(*theirs)
    whole = cross_entropy(logits_rv, targets_r, label_smoothing=smoothing, reduction="sum")
    plain_r = cross_entropy(logits_rv, targets_r, reduction="none")
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(nll_r, plain_r, rtol=1e-12, atol=0)
    backward(loss)
    backward(whole)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [3, 1000])
def test_ignored_rows_have_no_loss_and_no_gradient(smoothing: float, chunk: int) -> None:
    outputs_rd, weight_vd, bias_v, targets_r = _inputs()
    *theirs, _ = _inputs()
    ignored_r = torch.arange(ROWS) % 4 == 1
    loss, nll_r = smoothed_cross_entropy(
        outputs_rd,
        weight_vd,
        bias_v,
        targets_r.masked_fill(ignored_r, IGNORED),
        smoothing=smoothing,
        chunk=chunk,
        ignores=True,
    )
    logits_rv = linear(*theirs)[~ignored_r]
    targets_r = targets_r[~ignored_r]
    whole = cross_entropy(logits_rv, targets_r, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=0)
    plain_r = cross_entropy(logits_rv, targets_r, reduction="none")
    torch.testing.assert_close(nll_r[~ignored_r], plain_r, rtol=1e-12, atol=0)
    assert not nll_r[ignored_r].any()
    backward(loss)
    backward(whole)
    for our, their in zip((outputs_rd, weight_vd, bias_v), theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, rtol=1e-10, atol=1e-12)


def test_loss_of_one_row_equals_formula() -> None:
    """Two tokens with p = (3/4, 1/4), the second is the target, ε = 0.2."""
    loss, nll = smoothed_cross_entropy(
        torch.tensor([[1.0]], dtype=torch.float64),
        torch.tensor([[log(3.0)], [0.0]], dtype=torch.float64),
        torch.zeros(2, dtype=torch.float64),
        torch.tensor([1]),
        smoothing=0.2,
        chunk=8,
    )
    assert loss.item() == pytest.approx(0.8 * log(4) + 0.1 * (log(4) + log(4 / 3)), rel=1e-12)
    assert nll.item() == pytest.approx(log(4), rel=1e-12)


def test_gradients_pass_gradcheck() -> None:
    outputs_rd, weight_vd, bias_v, targets_r = _inputs()

    def loss(*inputs: Tensor) -> Tensor:
        return _loss(inputs, targets_r)[0]

    assert torch.autograd.gradcheck(loss, (outputs_rd, weight_vd, bias_v))


@pytest.mark.parametrize("scale", [1 / 37, -2.0, 65536.0])
def test_scaled_loss_scales_gradients(scale: float) -> None:
    *plain, targets_r = _inputs()
    *scaled, _ = _inputs()
    backward(_loss(plain, targets_r)[0])
    backward(scale * _loss(scaled, targets_r)[0])
    for one, other in zip(plain, scaled, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(other.grad, scale * one.grad, rtol=1e-12, atol=1e-12)


def test_tied_embedding_gets_gradients_of_both_uses() -> None:
    _, weight_vd, bias_v, targets_r = _inputs()
    given_r = torch.arange(ROWS) % VOCABULARY
    backward(_loss((weight_vd[given_r], weight_vd, bias_v), targets_r)[0])
    ours = weight_vd.grad
    _, weight_vd, bias_v, _ = _inputs()
    logits_rv = linear(weight_vd[given_r], weight_vd, bias_v)
    backward(cross_entropy(logits_rv, targets_r, label_smoothing=0.1, reduction="sum"))
    torch.testing.assert_close(ours, weight_vd.grad, rtol=1e-10, atol=1e-12)


def test_large_logits_give_finite_loss_and_gradients() -> None:
    *inputs, targets_r = _inputs(torch.float32)
    with torch.no_grad():
        inputs[2][3] = 3e4
    loss, nll = _loss(inputs, targets_r)
    backward(loss)
    assert loss.isfinite()
    assert nll.isfinite().all()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in inputs)


def test_no_grad_returns_the_same_values() -> None:
    *inputs, targets_r = _inputs()
    expected = _loss(inputs, targets_r)
    with torch.no_grad():
        values = _loss(inputs, targets_r)
    assert not values[0].requires_grad
    torch.testing.assert_close(values, tuple(value.detach() for value in expected))


def test_frozen_inputs_get_no_gradient() -> None:
    """A frozen encoder-decoder, of which only the output layer is trained."""
    outputs_rd, weight_vd, bias_v, targets_r = _inputs()
    frozen = outputs_rd.detach()
    backward(_loss((frozen, weight_vd, bias_v), targets_r)[0])
    assert frozen.grad is None
    assert weight_vd.grad is not None


def test_float16_gradient_of_improbable_tokens_is_precise() -> None:
    """Smoothing / vocabulary is 2e-6, of which float16 has 5 bits; the scaled gradient has 11."""
    loss_scale = 65536 / 8  # of `GradScaler`, per target token
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(shape, generator=generator).half() for shape in ((8, 4), (5000, 4))]
    given.append(torch.zeros(5000).half())
    given[2][:8] = 20.0  # all other tokens have nearly no probability
    gradients = []
    for dtype in (torch.float16, torch.float64):
        inputs = [tensor.to(dtype, copy=True).requires_grad_() for tensor in given]
        loss, _ = _loss(inputs, torch.arange(8), smoothing=0.01, chunk=3)
        backward(loss_scale * loss)
        gradients.append([tensor.grad for tensor in inputs])
    for near, right in zip(*gradients, strict=True):
        assert near is not None and right is not None
        assert near.dtype == torch.float16
        if len(near) > 8:
            near, right = near[8:], right[8:]  # without the targets
        assert (near.double() - right).norm() < 0.003 * right.norm()


def test_autocast_loss_is_close_to_float32() -> None:
    """Products are in bfloat16 with a precision of 0.4 %; sums are in float32."""
    *exact, targets_r = _inputs(torch.float32)
    *narrow, _ = _inputs(torch.float32)
    expected, _ = _loss(exact, targets_r)
    backward(expected)
    with torch.autocast("cpu", torch.bfloat16):
        loss, nll = _loss(narrow, targets_r)
    backward(loss)
    assert loss.dtype == nll.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.01)
    for near, right in zip(narrow, exact, strict=True):
        assert near.grad is not None
        assert right.grad is not None
        assert near.grad.dtype == torch.float32
        assert 0 < (near.grad - right.grad).norm() < 0.02 * right.grad.norm()


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the numbers of rows, other than width and vocabulary, of all matrix products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            sizes = {size for arg in args if isinstance(arg, Tensor) for size in arg.shape}
            self.rows |= sizes - {WIDTH, VOCABULARY}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("chunk", "expected"), [(1024, {64, 128, 192}), (8, {8})])
def test_rows_of_products_are_padded_to_few_sizes(chunk: int, expected: set[int]) -> None:
    """Libraries cache a compiled product, of megabytes, for every number of rows."""
    *layer, _ = _inputs()
    for rows in range(9, 190, 10):
        outputs_rd = torch.ones(rows, WIDTH, dtype=torch.float64, requires_grad=True)
        with _Products() as products:
            loss, nll_r = _loss((outputs_rd, *layer[1:]), torch.zeros(rows).long(), chunk=chunk)
            backward(loss)
        assert products.rows
        assert products.rows <= expected
        assert len(nll_r) == rows
        assert outputs_rd.grad is not None
        assert outputs_rd.grad.shape == outputs_rd.shape


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return result


def _largest() -> _Largest:
    return _Largest()  # type: ignore[no-untyped-call]


def test_largest_tensor_is_one_chunk_of_logits() -> None:
    rows, width, vocabulary, chunk = 64, 3, 40, 8
    outputs_rd = torch.randn(rows, width, requires_grad=True)
    weight_vd = torch.randn(vocabulary, width, requires_grad=True)
    bias_v = torch.zeros(vocabulary, requires_grad=True)
    targets_r = torch.randint(0, vocabulary, (rows,))
    with _largest() as whole:
        backward(cross_entropy(linear(outputs_rd, weight_vd, bias_v), targets_r))
    assert whole.elements == rows * vocabulary
    with _largest() as largest:
        loss, _ = smoothed_cross_entropy(
            outputs_rd, weight_vd, bias_v, targets_r, smoothing=0.1, chunk=chunk
        )
        backward(loss)
    assert largest.elements == chunk * vocabulary


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocabulary", [1, 2, 15, 16, 17, 100])
@pytest.mark.parametrize("shift", [0.0, -500.0, 500.0])
def test_kernel_in_c_equals_torch_in_float64(
    vocabulary: int, dtype: torch.dtype, shift: float
) -> None:
    torch.manual_seed(vocabulary)
    logits_rv = (3 * torch.randn(5, vocabulary) + shift).to(dtype)
    targets_r = torch.randint(vocabulary, (5,))
    targets_r[2] = IGNORED
    exact = chunk_loss(logits_rv.double(), targets_r, 4, 0.1, 2.0, ignores=True)
    found = _chunk_loss(logits_rv, targets_r, 4, 0.1, 2.0, ignores=True)
    assert found[2].data_ptr() == logits_rv.data_ptr()
    for one, other in zip(found[:2], exact[:2], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)
    tolerance = 1e-6 if dtype == torch.float32 else 8e-3
    torch.testing.assert_close(found[2].double(), exact[2], rtol=tolerance, atol=tolerance)


@needs_kernels
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_kernel_in_c_returns_nan_for_rows_that_are_not_finite(value: float) -> None:
    logits_rv = torch.zeros(2, 20)
    logits_rv[1, 3] = value
    loss, nll_r, d_logits_rv = _chunk_loss(logits_rv, torch.tensor([0, 1]), 2, 0.1, 1.0, False)
    assert loss.isnan()
    assert nll_r.isnan().tolist() == [False, True]
    assert d_logits_rv.isnan().any(dim=1).tolist() == [False, True]


@needs_kernels
def test_target_outside_of_the_vocabulary_is_an_error() -> None:
    with pytest.raises(IndexError, match="outside of the 20 tokens"):
        _chunk_loss(torch.zeros(2, 20), torch.tensor([0, 20]), 2, 0.1, 1.0, False)


@needs_kernels
def test_kernel_in_c_takes_targets_of_32_bits_under_any_default_dtype() -> None:
    logits_rv, targets_r = torch.randn(3, 20), torch.tensor([0, 19, 7])
    loss, nll_r, _ = _chunk_loss(logits_rv.clone(), targets_r, 3, 0.1, 1.0, False)
    torch.set_default_dtype(torch.float64)
    try:
        found, found_r, _ = _chunk_loss(logits_rv, targets_r.int(), 3, 0.1, 1.0, False)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, loss) and torch.equal(found_r, nll_r)
