"""What a device finds, on its way to the CPU."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

Tree = TypeVar("Tree")


class Post(Generic[Tree]):
    """Hands out pytrees in the order in which they were sent, their tensors on the CPU.

    What stands in lists is left as it is, which may be long ones of numbers.

    A GPU's tensors are copied beside its work, and nobody waits for them before `behind` others
    were sent after them: so it has work while they are read. Those of a CPU are there at once. How
    late is fixed, so that what is decided by them is decided at the same place every time.

    Args:
        device: where the tensors come from
        behind: letters that a GPU may have under way
    """

    def __init__(self, device: torch.device, behind: int = 1) -> None:
        self._is_far = device.type == "cuda"
        self._behind = behind if self._is_far else 0
        self._letters: deque[tuple[Tree, torch.cuda.Event | None]] = deque()

    def send(self, tree: Tree) -> None:
        """Begin to copy."""
        if not self._is_far:
            self._letters.append((tree, None))
            return
        copied = tree_map_only(Tensor, _copy, tree, is_leaf=lambda part: isinstance(part, list))
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._letters.append((copied, event))

    def arrived(self) -> Iterator[Tree]:
        """What was sent, but for the last `behind`."""
        return self._take(self._behind)

    def rest(self) -> Iterator[Tree]:
        """All that was sent."""
        return self._take(0)

    def _take(self, left: int) -> Iterator[Tree]:
        while len(self._letters) > left:
            tree, event = self._letters.popleft()
            if event is not None:
                event.synchronize()
            yield tree


def _copy(part: Tensor) -> Tensor:
    """Into pinned memory, and without waiting for it."""
    return part.to("cpu", non_blocking=True)
