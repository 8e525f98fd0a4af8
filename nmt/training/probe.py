"""Duration of the updates of an experiment on this machine, measured by a few of them."""

import time
from itertools import islice
from typing import NamedTuple

from nmt.config.schema import Experiment
from nmt.device import resolve_device
from nmt.errors import LOWER_MEMORY, explained_out_of_memory
from nmt.training.datasets import prepare_datasets
from nmt.training.setup import build_trainer

MAX_PAIRS = 50_000  # training pairs to read; they take seconds
# The first updates are slower: kernels are chosen and memory is allocated.
WARMUP_UPDATES, MAX_UPDATES, MAX_SECONDS = 3, 40, 15.0
# Translating a validation pair takes as long as training on this many pairs (beam 5, measured with
# the preset for 3,000 pairs).
VALIDATION_FACTOR = 3.5


class Probe(NamedTuple):
    """Size and speed of a training.

    Attributes:
        updates_per_epoch: updates of an epoch
        seconds_per_update: mean duration of an update
        updates: number of measured updates
        parameters: parameters of the model
        valid_share: validation pairs per training pair
    """

    updates_per_epoch: int
    seconds_per_update: float
    updates: int
    parameters: int
    valid_share: float

    def seconds_per_epoch(self, validations_per_epoch: float) -> float:
        """Return the duration of an epoch with its validations."""
        pairs = 1 + VALIDATION_FACTOR * self.valid_share * validations_per_epoch
        return self.seconds_per_update * self.updates_per_epoch * pairs


def probe(experiment: Experiment, *, pairs: int, device: str) -> Probe:
    """Measure the updates of an experiment; writes no files.

    Args:
        experiment: the experiment
        pairs: training pairs of the whole text, of which a part is read
        device: auto, cpu or cuda

    Raises:
        UserError: for any error that would stop a training
    """
    with explained_out_of_memory(LOWER_MEMORY):
        datasets = prepare_datasets(experiment, None, limit=MAX_PAIRS)
        trainer = build_trainer(experiment, datasets, resolve_device(device))
        _, plan = trainer.loader.plan(0)
        seconds: list[float] = []
        started = last = time.perf_counter()
        for update in islice(trainer.updates(), WARMUP_UPDATES + MAX_UPDATES):
            float(update.loss)  # a GPU computes asynchronously
            now = time.perf_counter()
            seconds.append(now - last)
            last = now
            if len(seconds) > WARMUP_UPDATES and now - started > MAX_SECONDS:
                break
    measured = seconds[WARMUP_UPDATES:] or seconds
    read = max(1, datasets.train.stats.read)
    return Probe(
        # The rest of a longer text has as many pairs per batch.
        max(1, round(-(-len(plan) // trainer.accumulate) * max(1.0, pairs / read))),
        sum(measured) / len(measured),
        len(measured),
        sum(parameter.numel() for parameter in trainer.model.parameters()),
        datasets.valid.stats.read / max(pairs, 1),
    )
