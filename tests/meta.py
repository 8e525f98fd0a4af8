"""The meta device, whose tensors have shapes and no values; reading or copying one is an error.

Code that runs on it does not synchronize with a GPU either.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad

META = torch.device("meta")


def make_ready(patch: pytest.MonkeyPatch) -> None:
    """Replace functions of torch that do not support the meta device."""
    patch.setattr(torch, "is_autocast_enabled", lambda device: False)
    patch.setattr(torch, "autocast", lambda device, **_: nullcontext())
    for name in ("lstm", "gru"):
        patch.setattr(torch, name, _with_rules_of_cudnn(getattr(torch, name)))
    patch.setattr(clip_grad, "_device_has_foreach_support", lambda device: True)


def _with_rules_of_cudnn(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a recurrent layer that raises an error for tensors that cuDNN does not take."""

    def run(
        inputs: Tensor, start: Tensor | tuple[Tensor, ...], weights: list[Tensor], *options: Any
    ) -> Any:
        states = start if isinstance(start, tuple) else (start,)
        assert all(state.is_contiguous() for state in states), "rnn: hx is not contiguous"
        assert len({tensor.dtype for tensor in (inputs, *states, *weights)}) == 1
        return compute(inputs, start, weights, *options)

    return run
