"""Division of batches that do not fit into memory."""

import logging
from collections.abc import Callable
from functools import cached_property
from math import log10
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from nmt.data.batch import Batch
from nmt.data.loader import IndexedBatch, UpdateBatch
from nmt.errors import LOWER_MEMORY, UserError
from nmt.model.weights import training_buffers

log = logging.getLogger("nmt")

Sums = TypeVar("Sums")


class DoesNotFit(NamedTuple):
    """A batch for which memory did not suffice.

    Attributes:
        number: position of the batch among those of the update
        reason: message of the allocator
    """

    number: int
    reason: str


class BatchSplitter:
    """Divides batches that do not fit into memory, and repeats their update.

    The gradient of the update is the same sum, apart from rounding and from the random numbers of
    dropout.

    Args:
        model: the model, whose buffers an update may change
        is_enabled: whether batches are divided: on a GPU, by a single process. On a CPU they are
            errors, since the system lends memory that it does not have

    Attributes:
        is_enabled: the argument
    """

    def __init__(self, model: nn.Module, *, is_enabled: bool) -> None:
        self._model, self.is_enabled = model, is_enabled
        self._splits = 0

    def run(
        self,
        update: UpdateBatch,
        compute: Callable[[UpdateBatch], Sums | DoesNotFit],
        reset: Callable[[], None],
    ) -> tuple[UpdateBatch, Sums]:
        """Return an update with its batches as they were computed, and the result.

        Args:
            update: the batches
            compute: computes the gradients
            reset: removes the gradients of an attempt that has failed

        Raises:
            UserError: if a batch does not fit and cannot be divided
        """
        buffers = self._buffers if self.is_enabled else []
        before = [(buffer, buffer.clone()) for buffer in buffers]
        while isinstance(result := compute(update), DoesNotFit):
            # The exception is gone by now, and with it the tensors of the failed attempt.
            reset()
            for buffer, value in before:
                buffer.copy_(value)
            failed = update.batches[result.number]
            if not self.is_enabled or len(failed.lines) < 2:
                message = f"out of memory{result.reason} for a batch of {_size(failed.batch)}"
                raise UserError(f"{message}; {LOWER_MEMORY}")
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            update = split_batch(update, result.number)
            self._report(failed)
        return update, result

    @cached_property
    def _buffers(self) -> list[Tensor]:
        # Listing them takes a millisecond, which updates on a GPU would wait for.
        return list(training_buffers(self._model).values())

    def _report(self, failed: IndexedBatch) -> None:
        self._splits += 1
        if log10(self._splits).is_integer():  # the 1st, the 10th, the 100th
            log.warning(
                "a batch of %s does not fit into memory and is divided (%d so far), which takes "
                "time; lower training.batch_tokens if this repeats",
                _size(failed.batch),
                self._splits,
            )


def split_batch(update: UpdateBatch, index: int) -> UpdateBatch:
    """Return an update with its batch of this number divided into two; it has at least two pairs.

    Sums over the batches of the update, and so its gradient, remain the same.
    """
    batches = update.batches
    halves = _halves(batches[index])
    return update._replace(batches=[*batches[:index], *halves, *batches[index + 1 :]])


def _halves(indexed: IndexedBatch) -> list[IndexedBatch]:
    middle = len(indexed.lines) // 2
    parts = slice(None, middle), slice(middle, None)
    return [
        indexed._replace(batch=_part(indexed.batch, rows), lines=indexed.lines[rows])
        for rows in parts
    ]


def _part(batch: Batch, rows: slice) -> Batch:
    """Return the pairs of some rows, without the columns that only other rows need."""
    source_mask_bs, target_mask_bt = batch.source_mask_bs[rows], batch.target_mask_bt[rows]
    source = batch.source[rows]
    if source.ndim == 2:  # images have one size
        columns = _columns(source_mask_bs)
        source, source_mask_bs = source[:, :columns], source_mask_bs[:, :columns]
    columns = _columns(target_mask_bt)
    part = Batch.create(
        source.contiguous(),
        source_mask_bs.contiguous(),
        batch.target_in_bt[rows, :columns].contiguous(),
        batch.target_out_bt[rows, :columns].contiguous(),
        target_mask_bt[:, :columns].contiguous(),
    )
    return part if batch.target_groups is None else part.with_groups().pin_memory()


def _columns(mask_bx: Tensor) -> int:
    return int(mask_bx.any(0).nonzero().max()) + 1


def _size(batch: Batch) -> str:
    """Return the size of a batch in words."""
    pairs, target = batch.target_out_bt.shape
    if batch.source.ndim == 2:
        return f"{pairs} pairs of up to {batch.source.size(1)} source and {target} target tokens"
    return f"{pairs} images with up to {target} target tokens"
