"""The number formats of an update."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from nmt.errors import UserError
from nmt.model.devices import autocast


class Precision:
    """Autocast, and for fp16 the scale of the loss.

    Args:
        name: fp32, bf16, fp16 or auto: bf16 on a GPU that has it, else fp16; fp32 on a CPU
        device: where the model is

    Raises:
        UserError: for fp16 on a CPU
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "auto" and device.type == "cuda":
            name = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        self.name = "fp32" if name == "auto" else name
        if self.name == "fp16" and device.type == "cpu":
            raise UserError("training.precision: fp16 needs a GPU; use bf16 or fp32 on a CPU")
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.name == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass."""
        return autocast(self.name, self.device)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss, scaled where the format needs it."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def clip(
        self, optimizer: Optimizer, parameters: Iterable[nn.Parameter], clip_norm: float | None
    ) -> Tensor:
        """Unscale and clip; the norm of all gradients before clipping."""
        self.scaler.unscale_(optimizer)
        return clip_grad_norm_(parameters, clip_norm or float("inf"), foreach=True)

    def may_skip(self, optimizer: Optimizer) -> bool:
        """Whether the device itself can leave out a step; what it has to scale is waited for."""
        fused = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        return fused and not self.scaler.is_enabled()

    def step(self, optimizer: Optimizer, skipped: Tensor | None = None) -> None:
        """Step after `clip`; with a scaler there is none where the norm is not finite.

        Args:
            skipped: whether there is no step either way, for an optimizer that may skip
        """
        if skipped is None:
            self.scaler.step(optimizer)
            self.scaler.update()
            return
        # The name by which torch's own scaler tells its fused optimizers.
        optimizer.found_inf = skipped.float()  # type: ignore[attr-defined]
        optimizer.step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self.scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if state:
            self.scaler.load_state_dict(state)
