"""Number formats of training: fp32, tf32, bf16 or fp16 with a loss scale."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer

from nmt.device import GPU_PRECISIONS, autocast, float32_products
from nmt.errors import OptionError
from nmt.storage.atomic import JsonObject


class Precision:
    """Autocast of the forward pass, and loss scaling for fp16.

    Args:
        name: fp32, tf32, bf16, fp16, or auto: on a GPU bf16 if it computes in it, else fp16; fp32
            on a CPU
        device: device of the model

    Raises:
        OptionError: for tf32 or fp16 on a CPU
    """

    def __init__(self, name: str, device: torch.device) -> None:
        # bf16 has the exponent range of fp32 and needs no loss scale, so it is preferred to fp16.
        if name == "auto" and device.type == "cuda":
            # torch emulates bf16 on GPUs before Ampere, slowly.
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            name = "bf16" if has_bf16 else "fp16"
        self.name = "fp32" if name == "auto" else name
        if self.name in GPU_PRECISIONS and device.type == "cpu":
            raise OptionError(
                f"{self.name} requires a GPU; use bf16 or fp32 on a CPU", "training.precision"
            )
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.name == "fp16")

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the forward pass."""
        return autocast(self.name, self.device)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss, which is scaled for fp16."""
        # Products of the backward pass have the types of the forward pass, but TF32 is a setting.
        with float32_products(self.name, self.device):
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def clip(
        self, optimizer: Optimizer, parameters: Iterable[nn.Parameter], clip_norm: float | None
    ) -> Tensor:
        """Clip the unscaled gradients; return the norm of all of them before clipping."""
        self.scaler.unscale_(optimizer)
        # The norm is needed even without clipping: the log shows it, and NaN is found by it.
        if clip_norm is None:
            gradients = [p.grad for p in parameters if p.grad is not None]
            return get_total_norm(gradients, foreach=True)
        return clip_grad_norm_(parameters, clip_norm, foreach=True)

    def may_skip(self, optimizer: Optimizer) -> bool:
        """Return whether the optimizer can skip a step on the device, without synchronization."""
        # A scaler adjusts its scale on the host, which has to wait for the norm anyway.
        fused = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        return fused and not self.scaler.is_enabled()

    def step(self, optimizer: Optimizer, skipped: Tensor | None = None) -> None:
        """Update the parameters, after `clip`; with fp16, skip the step if the norm is infinite.

        Args:
            optimizer: the optimizer
            skipped: whether to skip the step, computed on the device; only for fused optimizers.
                With a loss scale, the scaler itself decides it
        """
        if skipped is None or self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
            return
        # GradScaler sets the same attribute for fused optimizers.
        optimizer.found_inf = skipped.float()  # type: ignore[attr-defined]
        optimizer.step()

    def abandon_step(self) -> None:
        """Forget an update that has failed between `clip` and `step`."""
        if self.scaler.is_enabled():
            self.scaler._per_optimizer_states.clear()

    def state_dict(self) -> JsonObject:
        """Return the state of the loss scaler; empty without one."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: JsonObject) -> None:
        """Restore the state from `state_dict`."""
        if state:
            self.scaler.load_state_dict(state)
