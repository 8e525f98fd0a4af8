"""Choosing a device, and host copies in order and with a constant lag."""

import warnings
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor

from nmt import device
from nmt.device import (
    AsyncHostCopy,
    autocast,
    copy_packed,
    float32_products,
    resolve_device,
)
from nmt.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_an_unavailable_gpu_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU; use cpu or auto"):
        resolve_device("cuda")
    assert resolve_device("auto") == resolve_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:1", "CPU", ""])
def test_names_of_other_devices_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="must be one of auto, cpu, cuda"):
        resolve_device(name)


def test_auto_prefers_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == GPU
    assert resolve_device("cpu") == CPU


class Item(NamedTuple):
    number: Tensor
    listed: list[int]


class FakeEvent:
    """An event of a GPU that completes nothing before it is synchronized."""

    synchronized: ClassVar[list[int]] = []
    created = 0

    def __init__(self) -> None:
        self.number, FakeEvent.created = FakeEvent.created, FakeEvent.created + 1

    def record(self) -> None:
        """Do nothing: the copies of this test are complete."""

    def synchronize(self) -> None:
        self.synchronized.append(self.number)


@pytest.fixture
def synchronized(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the items whose events were synchronized, in order."""
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(FakeEvent, "synchronized", [])
    monkeypatch.setattr(FakeEvent, "created", 0)
    return FakeEvent.synchronized


def _item(number: int) -> Item:
    return Item(torch.tensor(number), [number, number + 1])


def _numbers(items: Iterable[Item]) -> list[int]:
    found = [(int(item.number), item.listed) for item in items]
    assert all(listed == [number, number + 1] for number, listed in found)
    return [number for number, _ in found]


def test_cpu_tensors_are_readable_immediately() -> None:
    copy: AsyncHostCopy[Item] = AsyncHostCopy(CPU, lag=3)
    for number in range(3):
        copy.enqueue(_item(number))
        assert _numbers(copy.ready()) == [number]
    assert _numbers(copy.flush()) == []


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_the_newest_gpu_tensors_are_held_back(lag: int, synchronized: list[int]) -> None:
    copy: AsyncHostCopy[Item] = AsyncHostCopy(GPU, lag)
    for number in range(5):
        copy.enqueue(_item(number))
        assert _numbers(copy.ready()) == ([number - lag] if number >= lag else [])
        assert synchronized == list(range(number - lag + 1))
    assert _numbers(copy.flush()) == list(range(5 - lag, 5))
    assert synchronized == list(range(5))
    assert _numbers(copy.flush()) == []


def test_tensors_of_one_dtype_are_copied_together(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[Tensor] = []
    to = Tensor.to

    def recorded(tensor: Tensor, device: str, *, non_blocking: bool) -> Tensor:
        copies.append(tensor)
        return to(tensor, device, non_blocking=non_blocking)

    monkeypatch.setattr(Tensor, "to", recorded)
    tensors = [
        torch.arange(6).view(2, 3),
        torch.tensor(1.5),
        torch.zeros(0, 4),
        torch.tensor([7]),
        torch.rand(3, 2).t(),
    ]
    found = copy_packed(tensors)
    assert len(copies) == 2
    for tensor, copied in zip(tensors, found, strict=True):
        assert copied.dtype == tensor.dtype
        assert torch.equal(copied, tensor)


def _tf32() -> list[bool]:
    return [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_only_tf32_rounds_float32_products_on_a_gpu(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch's own context refuses a GPU that it does not find.
    monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())
    before = _tf32()
    with suppress(ZeroDivisionError), autocast(precision, GPU):
        assert _tf32() == [precision == "tf32"] * 2
        raise ZeroDivisionError
    assert _tf32() == before
    with autocast(precision, CPU):
        assert _tf32() == before


def test_old_names_of_settings_are_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user of a GPU would see the warning of torch 2.9 at their first use in a process."""

    class Settings:
        uses = 0

        @property
        def allow_tf32(self) -> bool:
            self.uses += 1
            if self.uses == 1:
                warnings.warn("Please use the new API settings", UserWarning, stacklevel=2)
            return False

        @allow_tf32.setter
        def allow_tf32(self, value: bool) -> None:
            assert self.uses

    monkeypatch.setattr(torch.backends.cuda, "matmul", Settings())
    device._receive_deprecation.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with float32_products("fp32", GPU):
                pass
