"""Devices: choosing one, mixed precision, and copies to the host that do not stall a GPU."""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from shutil import which
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from nmt.errors import UserError

Tree = TypeVar("Tree")

HALF_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return the device of a name: auto (a GPU if one is available), cpu or cuda.

    Raises:
        UserError: cuda was requested and torch finds no GPU
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UserError("device 'cuda': torch finds no GPU; use cpu or auto")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context of bf16 or fp16; for other precisions, a context without effect.

    Args:
        precision: fp32, bf16, fp16 or int8
        device: device of the forward pass
    """
    if precision not in HALF_PRECISION:
        return nullcontext()
    return torch.autocast(device.type, HALF_PRECISION[precision])


@cache
def compiles_kernels() -> bool:
    """Return whether Triton and the C compiler that it calls are installed."""
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    return find_spec("triton") is not None and any(name and which(name) for name in compilers)


class AsyncHostCopy(Generic[Tree]):
    """A queue of pytrees on their way from a device to the host.

    CUDA tensors are copied to pinned memory asynchronously and become readable after `lag` newer
    items were enqueued, so the GPU always has queued work while the host reads. CPU tensors are
    readable immediately. The lag is constant, which keeps control flow deterministic.

    Args:
        device: device of the tensors
        lag: number of newest CUDA items that `ready` holds back
    """

    def __init__(self, device: torch.device, lag: int = 1) -> None:
        self._is_cuda = device.type == "cuda"
        self._lag = lag if self._is_cuda else 0
        self._queue: deque[tuple[Tree, torch.cuda.Event | None]] = deque()

    def enqueue(self, tree: Tree) -> None:
        """Start the copy of a pytree; lists in it are passed through uncopied, however long."""
        event = None
        if self._is_cuda:
            tree = tree_map_only(
                Tensor, _to_host, tree, is_leaf=lambda node: isinstance(node, list)
            )
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._queue.append((tree, event))

    def ready(self) -> Iterator[Tree]:
        """Yield the enqueued items in order, except for the newest `lag`."""
        return self._dequeue(self._lag)

    def flush(self) -> Iterator[Tree]:
        """Yield all remaining items in order."""
        return self._dequeue(0)

    def _dequeue(self, remaining: int) -> Iterator[Tree]:
        while len(self._queue) > remaining:
            tree, event = self._queue.popleft()
            if event is not None:
                # Waits for this copy alone, not for the work that was queued after it.
                event.synchronize()
            yield tree


def _to_host(tensor: Tensor) -> Tensor:
    # A non-blocking copy to the CPU goes to pinned memory; it is complete when the event is.
    return tensor.to("cpu", non_blocking=True)
