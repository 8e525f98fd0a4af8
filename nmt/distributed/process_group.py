"""Collective operations of the processes of a job; with a single process, local ones."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from nmt.distributed.rank import SINGLE_PROCESS, RankInfo
from nmt.distributed.rendezvous import open_store
from nmt.errors import UserError

Value = TypeVar("Value")
Result = TypeVar("Result")

# Rank 0 may learn a vocabulary or draw plots while the others wait.
OBJECT_TIMEOUT = timedelta(days=1)


class ProcessGroup:
    """The group of a single process, whose collective operations return their argument.

    `TorchProcessGroup` implements the same operations for several processes. Every operation must
    be called by all ranks, in the same order.

    Args:
        info: rank of this process

    Attributes:
        info: rank of this process
        rank: number of this process, from 0
        world_size: number of processes
        is_first: whether this is rank 0, which writes files and reports
    """

    def __init__(self, info: RankInfo = SINGLE_PROCESS) -> None:
        self.info, self.is_first = info, info.is_first
        self.rank, self.world_size = info.rank, info.world_size

    def wrap(self, module: nn.Module, *, compresses_gradients: bool = False) -> nn.Module:
        """Return a module whose backward pass averages gradients over the ranks.

        Args:
            module: the module
            compresses_gradients: whether the ranks exchange gradients in bf16
        """
        return module

    def no_sync(self, module: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which a wrapped module accumulates gradients without averaging."""
        return nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of the ranks' tensors, on every rank."""
        return tensor

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on at least one rank."""
        return flag

    def broadcast(self, value: Value) -> Value:
        """Return the value of rank 0, on every rank."""
        return value

    def all_equal(self, value: Value) -> bool:
        """Return whether this rank's value equals that of rank 0."""
        return self.broadcast(value) == value

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all ranks in order on rank 0, and an empty list elsewhere."""
        return [value]

    def on_first(self, function: Callable[[], Value]) -> Value:
        """Run a function on rank 0 only, and return its result on every rank."""
        return self.broadcast(function() if self.is_first else None)  # type: ignore[return-value]

    @contextmanager
    def first_rank_first(self) -> Iterator[None]:
        """Let rank 0 leave the block before any other rank enters it."""
        if not self.is_first:
            self.any(False)
        yield
        if self.is_first:
            self.any(False)

    def map(
        self, function: Callable[[list[Value]], Sequence[Result]], items: Sequence[Value]
    ) -> list[Result]:
        """Apply a function to items, of which each rank processes every `world_size`-th.

        Args:
            function: receives the items of a rank; returns a result per item
            items: the same on all ranks

        Returns:
            the results in order of the items on rank 0, and an empty list elsewhere
        """
        # Every n-th item rather than consecutive ones: neighbors of sorted items take equal time.
        share = list(items[self.rank :: self.world_size])
        own = function(share) if share else []
        results: list[Result] = [None] * len(items) if self.is_first else []  # type: ignore[list-item]
        for rank, part in enumerate(self.gather(own)):
            results[rank :: self.world_size] = part
        return results


SINGLE_PROCESS_GROUP = ProcessGroup()


class TorchProcessGroup(ProcessGroup):
    """The group of the processes that torchrun started.

    Gradients, and sums of tensors on a GPU, use torch's default group. Objects use a gloo group
    with a long timeout, so that no GPU kernel waits while a vocabulary is learned.
    """

    def __init__(self, info: RankInfo) -> None:
        super().__init__(info)
        self._object_group = dist.new_group(backend="gloo", timeout=OBJECT_TIMEOUT)

    def wrap(self, module: nn.Module, *, compresses_gradients: bool = False) -> nn.Module:
        # A parameter without gradient in a batch is no error in a single process, so neither here.
        # `find_unused_parameters` also keeps the gradient buckets: DDP would otherwise rebuild
        # them after the first update, which changes the order of sums over three or more ranks, and
        # a continued run would not have the bits of an uninterrupted one.
        wrapped = DistributedDataParallel(
            module, find_unused_parameters=True, gradient_as_bucket_view=True
        )
        if compresses_gradients:
            wrapped.register_comm_hook(None, _average_in_bf16)
        return wrapped

    def no_sync(self, module: nn.Module) -> AbstractContextManager[None]:
        assert isinstance(module, DistributedDataParallel)
        return module.no_sync()

    def sum(self, tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        dist.all_reduce(tensor, group=None if tensor.is_cuda else self._object_group)
        return tensor

    def any(self, flag: bool) -> bool:
        return bool(self.sum(torch.tensor(int(flag))))

    def broadcast(self, value: Value) -> Value:
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._object_group)
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        values: list[Value] = [value] * self.world_size if self.is_first else []
        dist.gather_object(
            value, values if self.is_first else None, dst=0, group=self._object_group
        )
        return values


def _average_in_bf16(state: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Average a bucket of gradients over the ranks in bf16."""
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    # torch accepts its own hook with NCCL only, although gloo can add bf16 too.
    return default_hooks.bf16_compress_hook(None, bucket)  # type: ignore[arg-type]


@contextmanager
def join(info: RankInfo, device: str) -> Iterator[ProcessGroup]:
    """Open the process group of a job for the duration of the block.

    On GPUs each process uses the GPU of its local rank and the group communicates by NCCL, else by
    gloo. After an error the group is not closed, because the other ranks might never answer.

    Args:
        info: rank of this process
        device: auto, cpu or cuda, as in `resolve_device`

    Raises:
        UserError: the machine has fewer GPUs than processes
    """
    if info.world_size == 1:
        yield SINGLE_PROCESS_GROUP
        return
    backend = "gloo"
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        backend = "nccl"
        _use_gpu_of(info)
    dist.init_process_group(
        backend, store=open_store(info), rank=info.rank, world_size=info.world_size
    )
    group, broken_pipe = TorchProcessGroup(info), None
    try:
        yield group
    except BrokenPipeError as error:
        broken_pipe = error  # the reader of our output has left; the ranks still answer
    # Closing a group under a live DistributedDataParallel can hang, and a cycle may keep one alive.
    gc.collect()
    group.any(False)
    dist.destroy_process_group()
    if broken_pipe is not None:
        raise broken_pipe


def _use_gpu_of(info: RankInfo) -> None:
    gpus = torch.cuda.device_count()
    if info.local_rank >= gpus:
        raise UserError(
            f"process {info.local_rank + 1} of this machine has no GPU: torch finds {gpus}; "
            "start fewer processes, or add --device cpu"
        )
    torch.cuda.set_device(info.local_rank)


def is_lost_connection(error: BaseException) -> bool:
    """Return whether an error only reports that another rank has ended."""
    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and "gloo" in str(error)
