"""`batch_tokens: auto`: search for the largest batch that fits into the memory of the GPU."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from nmt.config.schema import TrainingConfig
from nmt.data.batch_plan import longest_batch, plan_by_length
from nmt.data.loader import IndexedBatch
from nmt.errors import OptionError, UserError, is_out_of_memory
from nmt.storage.atomic import replace_file
from nmt.storage.run_dir import RunDir
from nmt.training.setup import MIN_BATCH_TOKENS
from nmt.training.trainer import Trainer

log = logging.getLogger("nmt")

SAFETY_FACTOR = 0.9  # memory becomes fragmented in the course of a run
GRAPH_SAFETY_FACTOR = 0.6  # graphs share their memory, but not with updates outside of them
PRECISION = 8  # the largest size is found to within an eighth
OPTIMIZER_STATES = 2  # tensors that an optimizer keeps per parameter, at most; Adam has two


def set_batch_tokens(trainer: Trainer, training: TrainingConfig, run: RunDir | None) -> None:
    """Set the batch size of the trainer's loader if it is `auto`; otherwise do nothing.

    The size is the largest that fits on all ranks. It is saved in the run, so that a continued run
    has the same batches.

    Args:
        trainer: a trainer before its first update
        training: options of the experiment
        run: the run directory; None to save nothing

    Raises:
        OptionError: on a CPU, which has no limit to measure, or if no batch fits
    """
    if training.batch_tokens != "auto":
        return
    if trainer.precision.device.type != "cuda":
        raise OptionError(
            "auto measures the memory of a GPU; use a number on a CPU", "training.batch_tokens"
        )
    process_group = trainer.process_group
    # Only the first rank reads and writes the file; the others may be on other machines.
    file = None if run is None else run.batch_tokens
    tokens = process_group.on_first(lambda: _read(file) if file and file.is_file() else None)
    if tokens is None:
        tokens = find_batch_tokens(trainer)
        if process_group.is_first and file is not None:
            replace_file(file, f"{tokens}\n")
        log.info("batch_tokens: %d, somewhat less than the largest batch that fits", tokens)
    trainer.loader.set_batch_tokens(tokens)


def _read(file: Path) -> int:
    try:
        return int(file.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(
            "is not a number; remove the file to measure the memory again", str(file)
        ) from None


def find_batch_tokens(trainer: Trainer) -> int:
    """Return a batch size that fits on all ranks; model and random states do not change.

    All ranks try the same sizes together, and one that does not fit on one of them is too large.

    Raises:
        UserError: if not even the smallest batch fits
    """
    corpus, _ = trainer.loader.plan(0)
    lengths = corpus.source_lengths, corpus.target_lengths
    # A batch of this size holds every sentence, however much padding it needs.
    whole_corpus = int(max(lengths[0].max(), lengths[1].max()) + 1) * len(lengths[0])

    def fits(tokens: int) -> bool:
        loader = trainer.loader
        plan = plan_by_length(
            *lengths,
            batch_tokens=tokens,
            batch_sentences=loader.batch_sentences,
            few_shapes=loader.few_shapes,
        )
        # The batch with the most padded tokens needs the most memory.
        rows = longest_batch(plan, *lengths)
        fits_here = _fits(trainer, loader.load_batch(corpus, rows))
        return not trainer.process_group.any(not fits_here)

    # The trials use dropout, and must not change the random numbers of the first update.
    devices = [trainer.precision.device] if trainer.precision.device.type == "cuda" else []
    with torch.random.fork_rng(devices), _unchanged_buffers(trainer.model):
        largest = largest_fitting(fits, MIN_BATCH_TOKENS, whole_corpus)
    if largest == 0:
        raise OptionError(
            f"a batch of {MIN_BATCH_TOKENS} tokens does not fit into the memory of the GPU; "
            "use a smaller number or a smaller model",
            "training.batch_tokens",
        )
    factor = SAFETY_FACTOR if trainer.graphs is None else GRAPH_SAFETY_FACTOR
    return max(MIN_BATCH_TOKENS, int(factor * largest))


@contextmanager
def _unchanged_buffers(model: nn.Module) -> Iterator[None]:
    """Restore the buffers of a model at the end: hard attention updates its baselines in them."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    yield
    for buffer, value in before:
        buffer.copy_(value)


def largest_fitting(fits: Callable[[int], bool], first: int, maximum: int) -> int:
    """Return the largest size that fits to within an eighth, or 0 if `first` does not fit.

    The size is doubled until it does not fit; bisection follows.

    Args:
        fits: returns whether a size fits; if it does, all smaller ones do
        first: the smallest size
        maximum: size beyond which nothing is tried
    """
    low, high = 0, first  # invariant: low fits, or is 0
    while fits(high):
        if high >= maximum:
            return high
        low, high = high, 2 * high
    while high - low > max(low, first) // PRECISION and low:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fits(trainer: Trainer, indexed: IndexedBatch) -> bool:
    """Return whether memory suffices for forward and backward pass of a batch and the optimizer."""
    try:
        reserved = _reserve_update_memory(trainer)
        trainer.model.train()
        # Without collective operations, which a rank that runs out of memory would not reach.
        trainer.backward(indexed, indexed.batch.target_tokens, all_ranks=False)
        del reserved  # before the cache is emptied
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        log.debug("%s: %s", type(error).__name__, error)
        return False
    finally:
        trainer.optimizer.zero_grad()
        if trainer.precision.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _reserve_update_memory(trainer: Trainer) -> list[Tensor]:
    """Return tensors as large as the optimizer's state and the gradient buckets of DDP."""
    # The optimizer allocates its state at the first update, after this trial.
    copies = OPTIMIZER_STATES + (trainer.process_group.world_size > 1)
    return [torch.empty_like(p) for p in trainer.model.parameters() for _ in range(copies)]
