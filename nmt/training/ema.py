"""Exponential moving average of the parameters."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Exponential moving average of the parameters of a model. Polyak and Juditsky 1992.

    θ' ← d θ' + (1 - d) θ after update n, with d = min(decay, (1 + n) / (10 + n)). The warm-up of d
    keeps the initial values from dominating the average.

    Args:
        model: the model whose parameters are averaged
        decay: the largest d
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self._shadow = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the parameters after update `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, parameters = zip(
            *((self._shadow[name], p.detach()) for name, p in self.model.named_parameters()),
            strict=True,
        )
        # θ' + (1 - d) (θ - θ'), for all parameters in a few kernels.
        torch._foreach_lerp_(list(averages), list(parameters), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the averaged parameters inside the context."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # Copies the values: the optimizer and DDP hold on to the parameters' own storage.
        for name, parameter in self.model.named_parameters():
            raw = parameter.detach().clone()
            parameter.copy_(self._shadow[name])
            self._shadow[name] = raw

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by parameter name."""
        return self._shadow

    @torch.no_grad()
    def load_state_dict(self, averages: dict[str, Tensor]) -> None:
        """Restore the averages; other names are ignored."""
        for name, average in self._shadow.items():
            average.copy_(averages[name])


def applied(average: ExponentialMovingAverage | None) -> AbstractContextManager[None]:
    """Return `average.applied()`, or an empty context without an average."""
    return nullcontext() if average is None else average.applied()
