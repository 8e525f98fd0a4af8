"""Division of batches that do not fit into memory."""

from typing import NamedTuple

from torch import Tensor

from nmt.data.batch import Batch
from nmt.data.loader import IndexedBatch, UpdateBatch


class DoesNotFit(NamedTuple):
    """A batch for which memory did not suffice.

    Attributes:
        number: position of the batch among those of the update
        reason: message of the allocator
    """

    number: int
    reason: str


def split_batch(update: UpdateBatch, index: int) -> UpdateBatch:
    """Return an update whose batch of this number is divided into two, at least two pairs long.

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


def describe(batch: Batch) -> str:
    """Return the size of a batch in words."""
    pairs, target = batch.target_out_bt.shape
    if batch.source.ndim == 2:
        return f"{pairs} pairs of up to {batch.source.size(1)} source and {target} target tokens"
    return f"{pairs} images with up to {target} target tokens"
