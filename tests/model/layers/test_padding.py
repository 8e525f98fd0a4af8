"""Reversal, last positions and removal of padding, with gradients that are gathered."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import backward, gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from nmt.data.batch import Batch
from nmt.model.layers.padding import Padding, remove_padding

MASK_BS = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
INDICES_R = MASK_BS.flatten().nonzero()[:, 0]
PADDING = Padding.of(MASK_BS)


def _remove(inputs_bsx: Tensor) -> Tensor:
    return remove_padding(inputs_bsx, MASK_BS, INDICES_R)


def _inputs(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


SELECTIONS = pytest.mark.parametrize(
    ("select", "shape"),
    [(PADDING.reverse, (4, 3, 2)), (PADDING.last, (4, 3, 2)), (_remove, (3, 4, 2))],
    ids=["reverse", "last", "remove_padding"],
)


def test_each_sentence_is_reversed_within_its_length() -> None:
    numbers_sb1 = torch.arange(12.0).view(3, 4, 1).transpose(0, 1)
    reversed_bs = PADDING.reverse(numbers_sb1)[:, :, 0].t()
    assert reversed_bs.tolist() == [[3, 2, 1, 0], [4, 5, 6, 7], [10, 9, 8, 11]]
    assert PADDING.last(numbers_sb1)[:, 0].tolist() == [3, 4, 10]


def test_real_tokens_keep_their_order_when_padding_is_removed() -> None:
    numbers_bs1 = torch.arange(12.0).view(3, 4, 1)
    assert _remove(numbers_bs1)[:, 0].tolist() == [0, 1, 2, 3, 4, 8, 9, 10]


@SELECTIONS
def test_gradients_equal_finite_differences(
    select: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    assert gradcheck(select, _inputs(*shape))


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the names of all operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@SELECTIONS
def test_no_gradient_is_scattered(
    select: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    """A GPU adds scattered numbers by atomic operations, or sorts them to be deterministic."""
    with _Operations() as operations:
        backward(select(_inputs(*shape)).sum())
    assert operations.names & {"index_select", "gather"}
    assert not {name for name in operations.names if "scatter" in name or "index_" in name} - {
        "index_select"
    }


def test_batch_without_targets_has_a_zero_gradient() -> None:
    tensors = (INDICES_R[:1, None], torch.ones(1, 1, dtype=torch.bool))
    empty = Batch.create(*tensors, tensors[0], tensors[0], tensors[1]).without_targets()
    inputs_btx = _inputs(1, 1, 2)
    rows_rx = remove_padding(inputs_btx, empty.target_mask_bt, empty.target_indices_r)
    assert rows_rx.shape == (0, 2)
    backward(rows_rx.sum())
    assert inputs_btx.grad is not None
    assert inputs_btx.grad.tolist() == [[[0.0, 0.0]]]
