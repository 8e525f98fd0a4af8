"""Training of the runs of a comparison that are missing or unfinished."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nmt.api.training import train
from nmt.comparison.plan import SEED, System
from nmt.errors import UserError


def train_missing(
    systems: Sequence[System], *, device: str = "auto", report: Callable[[str], object]
) -> list[System]:
    """Train all runs; unfinished ones continue, and finished ones stay as they are.

    Args:
        systems: systems whose runs have experiment files
        device: auto, cpu or cuda
        report: receives a line before each training, and one about a training that fails

    Returns:
        the systems with the runs that are finished, without those that have none

    Raises:
        KeyboardInterrupt: a training was interrupted
    """
    count = sum(len(system.runs) for system in systems)
    trained, number = [], 0
    for system in systems:
        finished = []
        for planned in system.runs:
            number += 1
            report(f"{system.name}, seed {planned.seed}: run {number} of {count}, {planned.path}")
            assert planned.config is not None
            overrides = [*planned.overrides, f"{SEED}={planned.seed}"]
            try:
                run = train(planned.config, overrides, run=planned.path, device=device)
            except UserError as error:
                # The others of a long comparison are trained all the same.
                report(f"{planned.path}: failed: {error}")
                continue
            if run.stop_reason is None:
                raise KeyboardInterrupt
            finished.append(planned)
        if finished:
            trained.append(replace(system, runs=tuple(finished)))
    return trained
