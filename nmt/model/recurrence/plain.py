"""The time loop over a known target, as autograd writes it."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def run(
    advance: Callable[[Tensor, Any, Any], tuple[tuple[Tensor, ...], Tensor, Any]],
    projected_tbg: Float[Tensor, "t b gates"],
    memory: Any,
    state: Any,
) -> tuple[Tensor, ...]:
    """What `advance` hands to the readout at every step, each stacked with the time axis first."""
    steps = []
    for projected_bg in projected_tbg.unbind(0):
        seen, _, state = advance(projected_bg, memory, state)
        steps.append(seen)
    return tuple(torch.stack(part) for part in zip(*steps, strict=True))
