"""Kernels in C for training against torch's operations in float64."""

import pytest
import torch
from torch import Tensor

from nmt.model.recurrence.fused import choose_ops
from nmt.model.recurrence.native_ops import NativeCellOps
from nmt.model.recurrence.spec import AttentionOrder
from nmt.model.recurrence.tensors import Inputs
from nmt.model.recurrence.torch_ops import AdditiveGradients, TorchCellOps
from nmt.native import library
from tests.model.recurrence import random_inputs as draw
from tests.model.recurrence.random_inputs import cast, random_inputs, relative_error, results

pytestmark = pytest.mark.skipif(
    not library.is_available(), reason="the kernels in C were not compiled"
)
ORDERS = list(AttentionOrder)


def _inputs(
    monkeypatch: pytest.MonkeyPatch, *, additive: bool, order: AttentionOrder, heads: int
) -> Inputs:
    """Draw inputs whose widths are one, two and three vectors of 16 numbers and a rest."""
    for name, width in (("HIDDEN", 20), ("VALUES", 34), ("ALIGNMENT", 49), ("FEED", 4)):
        monkeypatch.setattr(draw, name, width)
    return random_inputs(additive=additive, order=order, layers=2, heads=heads)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_are_about_as_exact_as_torch(
    additive: bool,
    heads: int,
    order: AttentionOrder,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = _inputs(monkeypatch, additive=additive, order=order, heads=heads)
    narrow = cast(inputs, dtype)
    ops = choose_ops(narrow)
    assert isinstance(ops, NativeCellOps)
    exact = results(inputs, order, TorchCellOps(), need_weights=True)
    found = results(narrow, order, ops, need_weights=True)
    plain = results(narrow, order, TorchCellOps(), need_weights=True)
    assert found.keys() == exact.keys() == plain.keys()
    # tanh(x) = 1 - 2 / (1 + exp(2x)) has an absolute error of half a unit in the last place of 1.
    floor = 3e-6 if dtype == torch.float32 else 2e-3
    for name, exact_x in exact.items():
        assert found[name].dtype == plain[name].dtype, name
        error, error_of_torch = (relative_error(x[name], exact_x) for x in (found, plain))
        assert error < 2 * error_of_torch + floor, name


@pytest.mark.parametrize("additive", [True, False])
def test_one_source_position(additive: bool) -> None:
    order = AttentionOrder.AFTER
    inputs = random_inputs(additive=additive, order=order, steps=1, positions=1)
    exact = results(inputs, order, TorchCellOps())
    found = results(cast(inputs, torch.float32), order, NativeCellOps())
    for name, exact_x in exact.items():
        assert relative_error(found[name], exact_x) < 2e-6, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_number_of_threads_changes_no_bit(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = _inputs(monkeypatch, additive=True, order=AttentionOrder.BEFORE, heads=1)
    source, ops = cast(inputs, dtype).source, NativeCellOps()
    query_ba, d_context_be = source.keys_bsa[:, 0].contiguous(), source.values_bse[:, 0]
    v_a = source.v_a
    assert v_a is not None

    def gradients(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        weights_bs, d_energies_bs = torch.empty(2, *source.mask_bs.shape)
        context_be, d_query_ba = torch.empty_like(d_context_be), torch.empty_like(query_ba)
        sums = AdditiveGradients(
            torch.zeros(source.keys_bsa.shape), torch.zeros_like(v_a, dtype=torch.float32)
        )
        ops.attend(query_ba, source, weights_bs, context_be)
        ops.attend_backward(
            query_ba, source, weights_bs, d_context_be, None, d_energies_bs, d_query_ba, sums
        )
        return [weights_bs, context_be, d_energies_bs, d_query_ba, *sums]

    before = torch.get_num_threads()
    try:
        alone, *others = (gradients(threads) for threads in (1, 2, 3))
    finally:
        torch.set_num_threads(before)
    for other in others:
        assert all(torch.equal(x, y) for x, y in zip(alone, other, strict=True))


def test_padding_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    order = AttentionOrder.BEFORE
    inputs = cast(_inputs(monkeypatch, additive=True, order=order, heads=1), torch.float32)

    def filled(value: float) -> dict[str, Tensor]:
        keys_nsa = inputs.keys_nsa.masked_fill(~inputs.mask_ns[:, :, None], value)
        return results(inputs._replace(keys_nsa=keys_nsa), order, NativeCellOps())

    zeros, large = filled(0.0), filled(1e30)
    assert all(torch.equal(zeros[name], large[name]) for name in zeros)
    assert not zeros["d_keys_nsa"][~inputs.mask_ns].any()


def test_float64_is_computed_by_torch() -> None:
    inputs = random_inputs(additive=True, order=AttentionOrder.BEFORE)
    assert type(choose_ops(inputs)) is TorchCellOps


def test_switch_turns_the_kernels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "is_available", lambda: False)
    inputs = cast(random_inputs(additive=True, order=AttentionOrder.BEFORE), torch.float32)
    assert type(choose_ops(inputs)) is TorchCellOps
