"""Every Triton kernel compiles for GPUs without spills, and in few variants. No GPU is needed.

`scripts/campaign.sh` compiles all combinations of dtypes, lengths and widths, which takes minutes.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from shutil import rmtree

import pytest
import torch
from torch import Tensor

from nmt.data.batch import group_tokens
from nmt.model.recurrence.torch_ops import AdditiveGradients, AttendedSource
from tests.interpreter import needs_triton

pytestmark = needs_triton

SENTENCES = 3
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def _attention(
    dtype: torch.dtype,
    positions: int,
    width: int,
    *,
    additive: bool = True,
    sentences: int = SENTENCES,
    steps: int = 1,
) -> None:
    """Launch the attention kernels for each step, and the sum over all steps."""
    from nmt.model.recurrence.triton_ops import TritonCellOps

    def empty(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    ops, wide = TritonCellOps(), partial(empty, dtype=torch.float32)
    mask_bs = torch.ones(sentences, positions, dtype=torch.bool)
    memory = empty(sentences, positions, width)
    source = AttendedSource(memory, memory, mask_bs, empty(width) if additive else None)
    query_tba = empty(steps, sentences, width)
    weights_tbs = wide(steps, sentences, positions)
    for query_ba, weights_bs in zip(query_tba, weights_tbs, strict=True):
        ops.attend(query_ba, source, weights_bs, query_ba)
        # Bilinear kernels read a gradient of the weights besides that of the context.
        d_weights_bs = None if additive else weights_bs
        tensors = (weights_bs, query_ba, d_weights_bs, weights_bs, query_ba)
        ops.attend_backward(query_ba, source, *tensors, None)
    if additive:
        gradients = AdditiveGradients(wide(sentences, positions, width), wide(width))
        ops.finish_additive(query_tba, source, weights_tbs, gradients)


def _lstm(dtype: torch.dtype, width: int) -> None:
    from nmt.model.recurrence.triton_ops import TritonCellOps

    gates_bg, hidden_bd = torch.empty(2, 4 * width, dtype=dtype), torch.empty(2, width, dtype=dtype)
    cell_bd = torch.empty(2, width)
    TritonCellOps().lstm(gates_bg, cell_bd, cell_bd, hidden_bd)
    TritonCellOps().lstm_backward(gates_bg, cell_bd, cell_bd, hidden_bd, cell_bd, gates_bg)


def _loss(dtype: torch.dtype, vocabulary: int, rows: int = 2) -> None:
    from nmt.training.loss_kernel import chunk_loss

    logits_rv = torch.empty(rows, vocabulary, dtype=dtype)
    chunk_loss(logits_rv, torch.zeros(rows, dtype=torch.int64), rows, 0.1, 1.0)


def _embedding(dtype: torch.dtype, width: int, positions: int = 3) -> None:
    from nmt.model.layers.embedding_kernel import table_gradient

    tokens_n = torch.arange(positions)
    gradient_nm = torch.empty(positions, width, dtype=dtype)
    table_gradient(gradient_nm, tokens_n, group_tokens(tokens_n[None]), positions)


Case = tuple[Callable[[], None], int]
"""Launches of kernels, and the compute capability to compile them for."""

COVERING: dict[str, Case] = {
    "additive attention as usual": (partial(_attention, torch.bfloat16, 32, 1024), 90),
    "additive attention, long": (partial(_attention, torch.float32, 1024, 70), 90),
    "additive attention, shortest": (partial(_attention, torch.float16, 1, 33), 80),
    "bilinear attention": (partial(_attention, torch.float32, 64, 1024, additive=False), 90),
    "bilinear attention, long": (partial(_attention, torch.float16, 1000, 33, additive=False), 80),
    "LSTM": (partial(_lstm, torch.bfloat16, 1024), 90),
    "LSTM, odd width": (partial(_lstm, torch.float32, 33), 80),
    "LSTM, one unit": (partial(_lstm, torch.float16, 1), 90),
    "loss, float32": (partial(_loss, torch.float32, 31999), 90),
    "loss, float16": (partial(_loss, torch.float16, 70), 80),
    "embedding": (partial(_embedding, torch.float32, 512), 90),
    "embedding, odd width": (partial(_embedding, torch.bfloat16, 33), 80),
}


def _all_cases() -> dict[str, Case]:
    launches: dict[str, Callable[[], None]] = {}
    lengths = [2**power for power in range(11)]
    for dtype, width in product(DTYPES, (1, 33, 70, 1024)):
        launches[f"LSTM {dtype} {width}"] = partial(_lstm, dtype, width)
        launches[f"embedding {dtype} {width}"] = partial(_embedding, dtype, width)
        for positions, additive in product(lengths, (False, True)):
            name = f"attention {dtype} {positions} {width} {additive}"
            launches[name] = partial(_attention, dtype, positions, width, additive=additive)
    for dtype, vocabulary in product(DTYPES, (1, 33, 8000, 31999, 32000, 65536)):
        launches[f"loss {dtype} {vocabulary}"] = partial(_loss, dtype, vocabulary)
    return {f"{name} sm_{c}": (launch, c) for name, launch in launches.items() for c in (80, 90)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for machine code and for Triton's cache, which is not kept."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    yield tmp_path
    rmtree(tmp_path / "cache")


def _assert_compiles(case: Case, folder: Path) -> None:
    from tests.gpu_compiler import recorded_variants, spilled_bytes

    launch, capability = case
    with recorded_variants() as variants:
        launch()
    assert variants
    for variant in variants.values():
        assert spilled_bytes(variant, capability, folder) == 0, variant.key


def test_kernel_compiles_for_hopper_without_spills(folder: Path) -> None:
    _assert_compiles((partial(_loss, torch.bfloat16, 31999), 90), folder)


@pytest.mark.slow
@pytest.mark.parametrize("case", COVERING.values(), ids=COVERING.keys())
def test_every_kernel_compiles_without_spills(case: Case, folder: Path) -> None:
    _assert_compiles(case, folder)


@pytest.mark.campaign
def test_every_combination_compiles_without_spills(
    request: pytest.FixtureRequest,
) -> None:
    if request.config.getoption("--campaign") != "full":
        pytest.skip("bash scripts/campaign.sh compiles all combinations")
    folder: Path = request.getfixturevalue("folder")
    for case in _all_cases().values():
        _assert_compiles(case, folder)


def test_lengths_add_few_variants_of_the_attention_kernels() -> None:
    """Lengths and numbers of sentences differ from batch to batch, alignment from step to step."""
    from tests.gpu_compiler import recorded_variants

    for power in range(7):
        lengths = range(2**power // 2 + 1, 2**power + 1)
        with recorded_variants() as variants:
            for positions, sentences in product(lengths, (1, 16, 37, 64)):
                steps = 1 + positions % 3
                _attention(torch.bfloat16, positions, 64, sentences=sentences, steps=steps)
        assert len({variant.name for variant in variants.values()}) == 3
        assert len(variants) <= 3


def test_numbers_of_tokens_add_no_variant_of_the_other_kernels() -> None:
    from tests.gpu_compiler import recorded_variants

    with recorded_variants() as variants:
        for tokens in (1, 2, 15, 16, 64, 1000):
            _loss(torch.bfloat16, 70, rows=tokens)
            _embedding(torch.float32, 64, positions=tokens)
    assert len(variants) == 2
