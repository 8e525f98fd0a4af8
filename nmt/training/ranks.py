"""What the processes of a job, its ranks, tell each other; for one process, nothing."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nmt.data.stream import WHOLE, Share
from nmt.errors import UserError
from nmt.training.meeting import meet

Value = TypeVar("Value")
Result = TypeVar("Result")

LONG = timedelta(days=1)  # others may learn a vocabulary or draw pictures meanwhile


class Ranks:
    """One process, which has nobody to ask. Several, which are alike, derive from it.

    Every method is called by all ranks, in the same order.

    Attributes:
        share: number of this rank, and how many there are
    """

    def __init__(self, share: Share = WHOLE) -> None:
        self.share = share

    @property
    def count(self) -> int:
        """How many ranks there are."""
        return self.share.total

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and tells."""
        return self.share.number == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module whose backward pass leaves the mean of all ranks' gradients in each."""
        return module

    def local(self, module: nn.Module) -> AbstractContextManager[None]:
        """The context of a pass of such a module whose gradients wait for the next pass."""
        return nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all ranks' tensors, in each of them."""
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return flag

    def same(self, value: Value) -> Value:
        """The first rank's value, in each of them."""
        return value

    def gather(self, value: Value) -> list[Value]:
        """All ranks' values in their order, for the first; nothing for the others."""
        return [value]

    def first_says(self, work: Callable[[], Value]) -> Value:
        """What the first rank finds, in each of them; the others do not work."""
        return self.same(work() if self.first else None)  # type: ignore[return-value]

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The others enter when the first rank has left."""
        if not self.first:
            self.any(False)
        yield
        if self.first:
            self.any(False)

    def spread(
        self, items: Sequence[Value], work: Callable[[list[Value], range], Sequence[Result]]
    ) -> list[Result]:
        """Results for all items in their order, for the first rank; nothing for the others.

        Each rank works on every `count`-th item.

        Args:
            items: the same for all ranks
            work: results for some of the items, whose numbers are given too
        """
        numbers = range(len(items))[self.share.number :: self.count]
        mine = work([items[i] for i in numbers], numbers) if numbers else []
        results: list[Result] = [None] * len(items) if self.first else []  # type: ignore[list-item]
        for number, part in enumerate(self.gather(mine)):
            results[number :: self.count] = part
        return results


ALONE = Ranks()


class JoinedRanks(Ranks):
    """The processes of a job that torchrun started.

    Gradients, and sums of tensors on a GPU, go by the default process group; words go by one of
    gloo's with a patience of its own, so that no GPU waits for a vocabulary.
    """

    def __init__(self, share: Share) -> None:
        super().__init__(share)
        self.words = dist.new_group(backend="gloo", timeout=LONG)

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module in torch's `DistributedDataParallel`, which sums gradients while it goes back.

        `find_unused_parameters`: one that gets no gradient from a batch is no error, as in one
        process; and buckets stay as they are. They would be cut anew after the first update, and
        with them the order of sums over three ranks or more: a run that is continued would not have
        the bits of the run that never was interrupted.
        """
        return DistributedDataParallel(
            module, find_unused_parameters=True, gradient_as_bucket_view=True
        )

    def local(self, module: nn.Module) -> AbstractContextManager[None]:
        assert isinstance(module, DistributedDataParallel)
        return module.no_sync()

    def sum(self, tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        dist.all_reduce(tensor, group=None if tensor.is_cuda else self.words)
        return tensor

    def any(self, flag: bool) -> bool:
        return bool(self.sum(torch.tensor(int(flag))))

    def same(self, value: Value) -> Value:
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.words)
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        values: list[Value] = [value] * self.count if self.first else []
        dist.gather_object(value, values if self.first else None, dst=0, group=self.words)
        return values


@contextmanager
def joined(share: Share, *, local: int, device: str) -> Iterator[Ranks]:
    """The ranks of a job, found by the variables that torchrun sets; by itself, one process.

    On GPUs each process takes the one of its number on its machine, and they speak by NCCL; else by
    gloo. After an error there is no farewell, which the others might never hear.

    Args:
        share: number of this rank, and how many there are
        local: its number on its machine
        device: auto, cpu or cuda, as `prepare_device` has it

    Raises:
        UserError: when the machine has too few GPUs
    """
    if share.total == 1:
        yield ALONE
        return
    backend = "gloo"
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        backend = "nccl"
        gpus = torch.cuda.device_count()
        if local >= gpus:
            raise UserError(
                f"process {local + 1} of this machine has no GPU: torch sees {gpus}; "
                f"start fewer processes, or add --device cpu"
            )
        torch.cuda.set_device(local)
    dist.init_process_group(backend, store=meet(share), rank=share.number, world_size=share.total)
    ranks, left = JoinedRanks(share), None
    try:
        yield ranks
    except BrokenPipeError as error:
        left = error  # by whoever read our output; the ranks themselves are well
    # Closing a group under a live DistributedDataParallel can hang, and a cycle may keep one alive.
    gc.collect()
    ranks.any(False)
    dist.destroy_process_group()
    if left is not None:
        raise left


def is_loss_of_others(error: BaseException) -> bool:
    """Whether an error says no more than that other ranks have ended."""
    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and "gloo" in str(error)
