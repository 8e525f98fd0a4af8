"""The time loop over a known target, as autograd writes it."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

Parts = tuple[Tensor, ...]


class Moved(Protocol):
    """What one step of a recurrence leaves."""

    @property
    def readout_inputs(self) -> Parts: ...
    @property
    def auxiliary(self) -> Parts: ...
    @property
    def state(self) -> Any: ...


def run(
    advance: Callable[[Tensor, Any, Any], Moved],
    projected_tbg: Float[Tensor, "t b gates"],
    memory: Any,
    state: Any,
) -> tuple[Parts, Parts]:
    """What `advance` hands to the readout, and its trace, stacked with the time axis first."""
    seen, trace = [], []
    for projected_bg in projected_tbg.unbind(0):
        moved = advance(projected_bg, memory, state)
        state = moved.state
        seen.append(moved.readout_inputs)
        trace.append(moved.auxiliary)
    return _stack(seen), _stack(trace)


def _stack(steps: Iterable[Parts]) -> Parts:
    return tuple(torch.stack(part) for part in zip(*steps, strict=True))
