"""`batch_tokens: auto`: the largest batch that the memory of a GPU holds, found by trying."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nmt.config.schema import TrainingConfig
from nmt.data.batching import batches_in_order, longest_batch
from nmt.data.stream import Numbered, make_batch
from nmt.errors import UserError
from nmt.model.saved import Run
from nmt.training.preparation import SMALLEST
from nmt.training.trainer import Trainer

log = logging.getLogger("nmt")

SPARE = 0.9  # of what has fitted: memory is cut up in the course of a run
GRAIN = 8  # the largest batch is found to within an eighth
ADAM = 2  # tensors that an optimizer keeps for every parameter, at most


def settle_batch_tokens(trainer: Trainer, training: TrainingConfig, run: Run | None) -> None:
    """Give the trainer's stream its batch size, where that is `auto`: the run's, or a new one.

    Ranks take what fits on all of them. The first writes it into the run, so that every later start
    cuts the same batches.

    Raises:
        UserError: on a CPU, where nothing tells how much memory is free; or when no batch fits
    """
    if training.batch_tokens != "auto":
        return
    if trainer.precision.device.type != "cuda":
        raise UserError(
            "training.batch_tokens: auto measures the memory of a GPU; name a number on a CPU"
        )
    ranks, kept = trainer.ranks, None if run is None else run.folder / "batch_tokens"
    found = ranks.first_says(lambda: _read(kept) if kept and kept.is_file() else None)
    if found is None:
        everywhere = ranks.gather(find_batch_tokens(trainer))
        found = ranks.first_says(lambda: min(everywhere))
        if ranks.first and kept is not None:
            kept.write_text(f"{found}\n", encoding="utf-8")
        log.info("batches of %d pieces: the largest that fit, less a tenth", found)
    trainer.stream.cut(found)


def _read(kept: Path) -> int:
    try:
        return int(kept.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError("holds no number; remove it to have it found again", str(kept)) from None


def find_batch_tokens(trainer: Trainer) -> int:
    """Pieces a batch that fit; parameters and the state of chance are left as they were.

    Raises:
        UserError: when not even the smallest batch fits
    """
    corpus, _ = trainer.stream.plan(0)
    lengths = corpus.source_lengths, corpus.target_lengths
    whole = int(max(lengths[0].max(), lengths[1].max()) + 1) * len(lengths[0])

    def fits(tokens: int) -> bool:
        plan = batches_in_order(
            *lengths, batch_tokens=tokens, batch_sentences=trainer.stream.batch_sentences
        )
        rows = longest_batch(plan, *lengths)
        batch = make_batch(corpus, rows, trainer.stream.specials)
        return _fits(trainer, Numbered(batch, corpus.lines[rows] + 1))

    devices = [trainer.precision.device] if trainer.precision.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        largest = largest_fitting(fits, SMALLEST, whole)
    if largest == 0:
        raise UserError(
            f"training.batch_tokens: not even {SMALLEST} pieces fit into the memory of the GPU; "
            "name a smaller number, or make the model smaller"
        )
    return max(SMALLEST, int(SPARE * largest))


def largest_fitting(fits: Callable[[int], bool], first: int, most: int) -> int:
    """The largest number that fits, to within an eighth: doubled, then closed in; 0 for none.

    Args:
        fits: whether a number does; where one does, all smaller ones do
        first: where to begin
        most: no larger number is of use
    """
    low, high = 0, first
    while fits(high):
        if high >= most:
            return high
        low, high = high, 2 * high
    while high - low > max(low, first) // GRAIN and low:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fits(trainer: Trainer, numbered: Numbered) -> bool:
    """Whether a batch goes there and back beside what an update needs; gradients are not joined."""
    try:
        room = _room_of_an_update(trainer)
        trainer.model.train()
        with trainer.ranks.local(trainer.loss):
            trainer.backward(numbered, numbered.batch.target_tokens)
        del room
    except torch.OutOfMemoryError:
        return False
    finally:
        trainer.optimizer.zero_grad()
        if trainer.precision.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _room_of_an_update(trainer: Trainer) -> list[Tensor]:
    """As much memory as the optimizer will take, and DDP for the gradients on their way."""
    copies = ADAM + (trainer.ranks.count > 1)
    return [torch.empty_like(p) for p in trainer.model.parameters() for _ in range(copies)]
