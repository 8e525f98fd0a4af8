"""Kernels in C against the formulas in float64 and against torch's operations."""

import os
from collections.abc import Iterator
from multiprocessing import get_context

import pytest
import torch
from torch import Tensor

from nmt.inference.linear import INT8_MAX, MIN_SCALE, UINT8_ZERO
from nmt.model.attention.mechanism import masked_softmax
from nmt.model.attention.score import tanh_energies
from nmt.model.layers.arithmetic import TORCH_ARITHMETIC
from nmt.model.layers.multi_head import Heads, explicit_attention, split_heads
from nmt.native import library

pytestmark = pytest.mark.skipif(
    not library.is_available(), reason="the kernels in C were not compiled"
)
WIDTHS = (1, 15, 16, 17, 40, 96, 512)
LARGEST = 90.0  # 2 * 90 is out of the range of float32's exponential


@pytest.fixture(params=[1, 2], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Number of threads that share the rows."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def _attention(width: int, queries: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return queries, keys, v, and a mask of three sentences of 7, 3 and 5 positions."""
    torch.manual_seed(width)
    mask_bs = torch.arange(7) < torch.tensor([[7], [3], [5]])
    return torch.randn(3, queries, width), torch.randn(3, 7, width), torch.randn(width), mask_bs


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scale", [1.0, LARGEST])
def test_energies_equal_those_of_float64(width: int, scale: float) -> None:
    query_bqa, keys_bsa, v_a, _ = _attention(width)
    query_bqa[1, 2], keys_bsa[2, 3] = query_bqa[1, 2] * scale, keys_bsa[2, 3] * scale
    exact_bqs = tanh_energies(query_bqa.double(), keys_bsa.double(), v_a.double())
    found_bqs = library.tanh_energies(query_bqa, keys_bsa, v_a)
    torch.testing.assert_close(found_bqs.double(), exact_bqs, rtol=2e-6, atol=2e-7 * (width + 5))


def test_energies_of_a_head_are_those_of_its_part() -> None:
    query_bqa, keys_bsa, v_a, _ = _attention(96)
    for query, keys, v in zip(
        *(x.chunk(4, dim=-1) for x in (query_bqa, keys_bsa, v_a)), strict=True
    ):
        own = query.contiguous(), keys.contiguous(), v.contiguous()
        assert torch.equal(library.tanh_energies(query, keys, v), library.tanh_energies(*own))


@pytest.mark.parametrize("positions", [1, 2])
def test_rows_of_transposed_tensors_are_read_at_their_places(positions: int) -> None:
    """The time axis of annotations may be first; that of one position has an arbitrary stride."""
    torch.manual_seed(positions)
    keys_bsa = torch.randn(positions, 50, 32).transpose(0, 1)
    query_bqa = torch.randn(positions, 50, 32).transpose(0, 1)
    weights_bqs, v_a = torch.rand(50, positions, positions), torch.randn(32)
    exact = [tensor.double() for tensor in (query_bqa, keys_bsa, v_a, weights_bqs)]
    found = [
        library.tanh_energies(query_bqa, keys_bsa, v_a),
        library.dot_energies(query_bqa, keys_bsa),
        library.context(weights_bqs, keys_bsa),
    ]
    expected = [tanh_energies(*exact[:3]), exact[0] @ exact[1].mT, exact[3] @ exact[1]]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("queries", [1, 4, 5, 12])
def test_softmax_equals_that_of_float64_and_is_zero_in_padding(queries: int) -> None:
    torch.manual_seed(queries)
    energies_bqs = torch.randn(3, queries, 21) * 30
    energies_bqs[0, 0, 3] = -torch.inf
    mask_bs = torch.arange(21) < torch.tensor([[21], [3], [16]])
    weights_bqs = library.masked_softmax(energies_bqs, mask_bs)
    exact_bqs = masked_softmax(energies_bqs.double(), mask_bs)
    torch.testing.assert_close(weights_bqs.double(), exact_bqs, rtol=1e-5, atol=1e-7)
    assert (weights_bqs.masked_select(~mask_bs[:, None]) == 0).all()
    assert weights_bqs[0, 0, 3] == 0


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("queries", [1, 5, 7])
def test_contexts_equal_those_of_float64(width: int, queries: int) -> None:
    _, keys_bsa, _, mask_bs = _attention(3 * width, queries)
    weights_bqs = torch.rand(3, queries, 7) * mask_bs[:, None]
    for values_bse in (keys_bsa, *keys_bsa.chunk(3, dim=-1)):
        context_bqe = library.context(weights_bqs, values_bse)
        exact_bqe = weights_bqs.double() @ values_bse.double()
        torch.testing.assert_close(context_bqe.double(), exact_bqe, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", WIDTHS)
def test_dot_energies_equal_those_of_float64(width: int) -> None:
    query_bqa, keys_bsa, _, _ = _attention(2 * width)
    for query, keys in zip(query_bqa.chunk(2, dim=-1), keys_bsa.chunk(2, dim=-1), strict=True):
        exact_bqs = query.double() @ keys.double().mT
        found_bqs = library.dot_energies(query, keys).double()
        torch.testing.assert_close(found_bqs, exact_bqs, rtol=1e-5, atol=1e-7 * (width + 20))


@pytest.mark.parametrize("width", [1, 9, 16, 36, 64])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("queries", [1, 5])
def test_multi_head_attention_equals_that_of_float64(width: int, heads: int, queries: int) -> None:
    query_bqd, keys_bsd, _, mask_bs = _attention(2 * heads * width, queries)
    # Parts of larger tensors, as those of a joint projection are.
    query_bhqw = split_heads(query_bqd.chunk(2, dim=-1)[1], heads)
    memory = Heads(*(split_heads(one, heads) for one in keys_bsd.chunk(2, dim=-1)))
    exact = Heads(*(one.double() for one in memory))
    for mask in (mask_bs, None):
        found = library.multi_head_attention(query_bhqw, *memory, mask)
        expected = explicit_attention(query_bhqw.double(), exact, mask, causal=False)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("width", [9, 64])
def test_bits_of_a_sentence_in_multi_head_attention_do_not_depend_on_others(width: int) -> None:
    query_bqd, keys_bsd, _, mask_bs = _attention(2 * width)
    query_bhqw = split_heads(query_bqd, 2)
    memory = Heads(split_heads(keys_bsd, 2), split_heads(keys_bsd + 1, 2))
    context_bqd, weights_bhqs = library.multi_head_attention(query_bhqw, *memory, mask_bs)
    for sentence, length in enumerate((7, 3, 5)):
        rows = slice(sentence, sentence + 1)
        keys, values = (one[rows, :, :length].contiguous() for one in memory)
        alone = library.multi_head_attention(query_bhqw[rows, :, :1], keys, values)
        assert torch.equal(alone[0][0, 0], context_bqd[sentence, 0])
        assert torch.equal(alone[1][0, :, 0], weights_bhqs[sentence, :, 0, :length])


@pytest.mark.parametrize("width", [17, 512])
def test_bits_of_a_sentence_do_not_depend_on_others_and_on_padding(width: int) -> None:
    query_bqa, keys_bsa, v_a, mask_bs = _attention(width)

    def attend(rows: slice, positions: int, queries: int) -> tuple[Tensor, Tensor]:
        own_keys_bsa = keys_bsa[rows, :positions].contiguous()
        energies_bqs = library.tanh_energies(query_bqa[rows, :queries], own_keys_bsa, v_a)
        energies_bqs += library.dot_energies(query_bqa[rows, :queries], own_keys_bsa)
        weights_bqs = library.masked_softmax(energies_bqs, mask_bs[rows, :positions])
        return weights_bqs, library.context(weights_bqs, own_keys_bsa)

    weights_bqs, context_bqe = attend(slice(None), 7, 5)
    for sentence, length in enumerate((7, 3, 5)):
        rows = slice(sentence, sentence + 1)
        for queries in (1, 2, 5):
            alone_1qs, alone_1qe = attend(rows, length, queries)
            assert torch.equal(alone_1qs[0], weights_bqs[sentence, :queries, :length])
            assert torch.equal(alone_1qe[0], context_bqe[sentence, :queries])


@pytest.mark.parametrize("width", [*WIDTHS, 8000])
def test_log_softmax_equals_that_of_float64_and_ignores_impossible_entries(width: int) -> None:
    torch.manual_seed(width)
    logits_nv = torch.randn(9, width) * torch.arange(1, 10)[:, None]
    logits_nv[3, width // 2] = 1000
    found_nv = library.log_softmax(logits_nv)
    exact_nv = logits_nv.double().log_softmax(dim=-1)
    torch.testing.assert_close(found_nv.double(), exact_nv, rtol=2e-7, atol=2e-6)
    longer_nx = torch.cat([logits_nv, torch.full((9, 70), -torch.inf)], dim=1)
    assert torch.equal(library.log_softmax(longer_nx)[:, :width], found_nv)


@pytest.mark.parametrize("width", WIDTHS)
def test_integers_equal_those_of_torch(width: int) -> None:
    torch.manual_seed(width)
    inputs_nd = torch.randn(9, width) * torch.logspace(-9, 9, 9)[:, None]
    inputs_nd[4] = 0
    scale_n1 = inputs_nd.abs().amax(dim=1, keepdim=True).clamp_min(MIN_SCALE) / INT8_MAX
    integers_nd = (inputs_nd / scale_n1).round().to(torch.int8).view(torch.uint8) ^ UINT8_ZERO
    found_nd, found_n1 = library.quantize_rows(inputs_nd, MIN_SCALE)
    assert torch.equal(found_nd, integers_nd)
    assert torch.equal(found_n1, scale_n1)


@pytest.mark.parametrize("width", WIDTHS)
def test_lstm_cell_equals_that_of_float64(width: int) -> None:
    torch.manual_seed(width)
    gates_ng, cell_nd = torch.randn(9, 4 * width) * 3, torch.randn(9, width)
    gates_ng[0], gates_ng[1] = 200, -200
    found = library.lstm_cell(gates_ng, cell_nd)
    exact = TORCH_ARITHMETIC.lstm_cell(gates_ng.double(), cell_nd.double())
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-6, atol=1e-6)


def test_nan_stays_nan() -> None:
    nan_bsa = torch.full((1, 2, 20), torch.nan)
    assert library.tanh_energies(nan_bsa, torch.zeros(1, 3, 20), torch.ones(20)).isnan().all()
    assert library.tanh_energies(torch.zeros(1, 3, 20), nan_bsa, torch.ones(20)).isnan().all()
    assert library.log_softmax(torch.tensor([[0.0, torch.nan]])).isnan().all()
    assert library.masked_softmax(nan_bsa, torch.ones(1, 20, dtype=torch.bool)).isnan().all()
    assert library.quantize_rows(nan_bsa[0], MIN_SCALE)[1].isnan().all()
    assert all(one.isnan().all() for one in library.lstm_cell(nan_bsa[0], torch.zeros(2, 5)))


def test_the_variable_turns_the_kernels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SWITCH, "0")
    assert library._library.__wrapped__() is None


def test_kernels_of_another_version_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "INTERFACE", library.INTERFACE + 1)
    assert library._library.__wrapped__() is None


def test_no_sums_and_no_rows_are_nothing() -> None:
    assert library.largest_sums(torch.zeros(2, 1), torch.zeros(2, 1, 4), 0)[0].shape == (2, 0)
    assert library.context(torch.zeros(0, 2, 3), torch.zeros(0, 3, 4)).shape == (0, 2, 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="requires fork")
def test_kernels_run_in_a_forked_process(threads: int) -> None:
    keys_bsa = torch.randn(3, 2, 16)
    library.dot_energies(keys_bsa, keys_bsa)
    process = get_context("fork").Process(target=library.dot_energies, args=(keys_bsa, keys_bsa))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_kernels_take_float32_on_a_cpu_alone() -> None:
    assert library.supports(torch.zeros(1), torch.zeros(2))
    assert not library.supports(torch.zeros(1), torch.zeros(1, dtype=torch.float64))
    assert not library.supports(torch.zeros(1, device="meta"))
    assert not library.supports(torch.zeros(1, requires_grad=True))
