"""Detection of NaN and infinite losses and gradients, without a pause of the GPU."""

from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.data.token_corpus import Array
from nmt.device import AsyncHostCopy
from nmt.distributed.process_group import ProcessGroup
from nmt.errors import UserError

MAX_LINES = 5
"""Number of training lines that an error names."""


class UpdateStats(NamedTuple):
    """Values of one update that the host reads later.

    Attributes:
        step: number of the update
        lines: training lines of each batch of this rank
        batch_losses: loss of each batch of this rank
        loss: sum of the losses of all ranks
        grad_norm: norm of the gradient before clipping
        interrupts: number of ranks that received a signal to stop
    """

    step: int
    lines: list[Array]
    batch_losses: Float[Tensor, " batches"]
    loss: Float[Tensor, ""]
    grad_norm: Float[Tensor, ""]
    interrupts: Float[Tensor, ""]

    @property
    def is_nonfinite(self) -> Bool[Tensor, ""]:
        """Return whether the optimizer must skip this update, as a tensor on the device."""
        return ~(self.loss.isfinite() & self.grad_norm.isfinite())


class NonFiniteCheck:
    """Raises an error for an update whose loss or gradient norm is NaN or infinite.

    All ranks reach the same verdict at the same update: a NaN on one rank makes the all-reduced sum
    NaN.

    Args:
        process_group: processes that train together
        device: device of the statistics
        lag: number of updates that may be in flight on a GPU before their statistics are read; an
            optimizer that can skip an update by itself allows 1
        has_loss_scale: whether an infinite gradient norm is expected now and then, because fp16
            training lowers its loss scale after one
    """

    def __init__(
        self, process_group: ProcessGroup, device: torch.device, *, lag: int, has_loss_scale: bool
    ) -> None:
        self._process_group, self._has_loss_scale = process_group, has_loss_scale
        self._host_copy: AsyncHostCopy[UpdateStats] = AsyncHostCopy(device, lag)

    def enqueue(self, stats: UpdateStats) -> list[UpdateStats]:
        """Add an update; check and return the updates whose statistics have arrived.

        Raises:
            UserError: if one of them is not finite
        """
        self._host_copy.enqueue(stats)
        return self._check_all(self._host_copy.ready())

    def flush(self) -> list[UpdateStats]:
        """Check and return all remaining updates.

        Raises:
            UserError: if one of them is not finite
        """
        return self._check_all(self._host_copy.flush())

    def _check_all(self, arrived: Iterable[UpdateStats]) -> list[UpdateStats]:
        checked = []
        for stats in arrived:
            self._check(stats)
            checked.append(stats)
        return checked

    def _check(self, stats: UpdateStats) -> None:
        if not stats.loss.isfinite():
            batches = zip(stats.batch_losses.tolist(), stats.lines, strict=True)
            nonfinite = [(loss, lines.tolist()) for loss, lines in batches if not isfinite(loss)]
            # One batch is enough to reproduce the error.
            raise self._error(stats.step, "loss", self._gather(nonfinite[:1])[:1])
        if not stats.grad_norm.isfinite() and not self._has_loss_scale:
            lines = np.concatenate(stats.lines).tolist()
            found = self._gather([(float(stats.grad_norm), lines)])
            raise self._error(stats.step, "gradient norm", found)

    def _gather(self, found: list[tuple[float, list[int]]]) -> list[tuple[float, list[int]]]:
        """Return the values and lines of all ranks on the first rank, and nothing on the others."""
        return [one for of_rank in self._process_group.gather(found) for one in of_rank]

    def _error(self, step: int, name: str, found: list[tuple[float, list[int]]]) -> UserError:
        value = found[0][0] if found else float("nan")
        lines = [line for _, lines in found for line in lines]
        named = ", ".join(map(str, lines[:MAX_LINES])) + (", ..." if len(lines) > MAX_LINES else "")
        message = (
            f"update {step}: the {name} is {value} on the batch of training lines {named}; "
            "the last checkpoint is kept; try a lower learning_rate, a smaller clip_norm or a "
            "warmup"
        )
        # The lines of all ranks are on the first rank, so its message is the complete one.
        return UserError(self._process_group.broadcast(message))
