"""Devices: choosing one, mixed precision, two streams, and copies to the host without a stall."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from nmt.errors import UserError

Tree = TypeVar("Tree")

TORCH_VERSION = tuple(map(int, torch.__version__.split(".")[:2]))
"""Major and minor version of torch."""

HALF_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}

GPU_PRECISIONS = ("tf32", "fp16")
"""Precisions that a CPU does not support."""


DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """Return the device of a name: auto (a GPU if one is available), cpu or cuda.

    Raises:
        UserError: the name is another one, or cuda was requested and torch finds no GPU
    """
    if name not in DEVICES:
        remedy = "; CUDA_VISIBLE_DEVICES chooses a GPU" if str(name).startswith("cuda") else ""
        raise UserError(f"device {name!r}: must be one of {', '.join(DEVICES)}{remedy}")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UserError("device 'cuda': torch finds no GPU; use cpu or auto")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Open the context of a forward pass: autocast for bf16 and fp16, and `float32_products`.

    Args:
        precision: fp32, tf32, bf16, fp16 or int8
        device: device of the forward pass
    """
    dtype = HALF_PRECISION.get(precision)
    with float32_products(precision, device):
        if dtype is None:
            yield
        else:
            with torch.autocast(device.type, dtype):
                yield


def float32_products(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which a GPU rounds the inputs of float32 products to TF32, or not.

    TF32 has a mantissa of 10 bits. By default torch uses it in cuDNN's layers, and not in products.
    The settings are those of the process, and the context restores them; on a CPU it has no effect.

    Args:
        precision: tf32; with any other one, float32 products are exact to float32
        device: device of the products
    """
    return nullcontext() if device.type != "cuda" else _tf32(precision == "tf32")


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    _receive_deprecation()
    settings: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [setting.allow_tf32 for setting in settings]
    for setting in settings:
        setting.allow_tf32 = allowed
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.allow_tf32 = value


@cache
def _receive_deprecation() -> None:
    """Receive the warning of torch 2.9 that these settings have another name, which 2.8 lacks.

    torch warns once per process. It refuses to run if a program uses both names.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _ = torch.backends.cuda.matmul.allow_tf32


_branch_stream: ContextVar["torch.cuda.Stream | None"] = ContextVar("branch stream", default=None)


@contextmanager
def parallel_branches(stream: "torch.cuda.Stream") -> Iterator[None]:
    """Let `run_branches` use a second stream of the GPU inside the context."""
    token = _branch_stream.set(stream)
    try:
        yield
    finally:
        _branch_stream.reset(token)


def run_branches(
    first: Callable[[], Tree], second: Callable[[], Tree], shared: object
) -> tuple[Tree, Tree]:
    """Run two functions that do not depend on each other; return the results of both.

    Inside `parallel_branches` the second one runs on the other stream, forward and backward: torch
    computes a gradient on the stream of its forward pass.

    Args:
        first, second: the functions
        shared: pytree of all tensors that `second` reads
    """
    other = _branch_stream.get()
    if other is None:
        return first(), second()
    current = torch.cuda.current_stream()
    other.wait_stream(current)
    with torch.cuda.stream(other):
        second_result = second()
    first_result = first()
    current.wait_stream(other)
    # The allocator knows only the stream that allocates a tensor, and must not reuse its memory
    # while the other one may still read it.
    for tensor, stream in ((shared, other), (second_result, current)):
        for leaf in tree_leaves(tensor):
            if isinstance(leaf, Tensor):
                leaf.record_stream(stream)
    return first_result, second_result


class AsyncHostCopy(Generic[Tree]):
    """A queue of pytrees on their way from a device to the host.

    CUDA tensors are copied to pinned memory asynchronously, those of one dtype together, and become
    readable after `lag` newer items were enqueued, so the GPU always has queued work while the host
    reads. CPU tensors are readable immediately. The lag is constant, which keeps control flow
    deterministic.

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
            leaves, spec = tree_flatten(tree, is_leaf=lambda node: isinstance(node, list))
            places = [n for n, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
            for place, tensor in zip(places, copy_packed([leaves[n] for n in places]), strict=True):
                leaves[place] = tensor
            tree = tree_unflatten(leaves, spec)
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


def copy_packed(tensors: list[Tensor]) -> list[Tensor]:
    """Start the copy of tensors to the host, with one transfer per device and dtype.

    Each transfer costs the host several microseconds, however small it is.
    """
    copies = list(tensors)
    for kind in {(tensor.device, tensor.dtype) for tensor in tensors}:
        places = [n for n, tensor in enumerate(tensors) if (tensor.device, tensor.dtype) == kind]
        packed = torch.cat([tensors[n].flatten() for n in places])
        # A non-blocking copy to the CPU goes to pinned memory; it is complete when the event is.
        on_host = packed.to("cpu", non_blocking=True)
        parts = torch.split(on_host, [tensors[n].numel() for n in places])
        for place, part in zip(places, parts, strict=True):
            copies[place] = part.view(tensors[place].shape)
    return copies


def has_fast_bf16() -> bool:
    """Return whether the CPU has instructions for bf16; without them it is slower than fp32."""
    return bool(torch.cpu._is_avx512_bf16_supported()) or bool(torch.cpu._is_amx_tile_supported())
