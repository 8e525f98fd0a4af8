"""An exponential moving average of the parameters."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """θ' ← d θ' + (1 - d) θ after each update, with d = min(decay, (1 + n) / (10 + n)) at update n.

    The warm-up of d keeps the first values from lasting. Polyak and Juditsky 1992.

    Args:
        model: whose parameters are averaged
        decay: the largest d
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.shadow = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after update `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = zip(
            *((self.shadow[name], p.detach()) for name, p in self.model.named_parameters()),
            strict=True,
        )
        torch._foreach_lerp_(list(mine), list(theirs), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with averaged parameters, for as long as the context lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.model.named_parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self.shadow[name])
            self.shadow[name] = kept

    def state(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return self.shadow

    @torch.no_grad()
    def restore(self, shadow: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        for name, tensor in shadow.items():
            self.shadow[name].copy_(tensor)
