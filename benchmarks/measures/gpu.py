"""What is measured on a GPU: training, translating, memory, and how long the device waits."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.contender import Kind
from harness.results import Row, unmeasured
from harness.text import equal_ids
from measures.profile import profile_rows
from measures.training import Field, Plan, training_rows
from nmt.errors import UserError
from workers.ids import Sizes

BAHDANAU = Sizes(embedding=512, encoder=512, layers=2, decoder=1024, readout=512, dropout=0.2)
GNMT = Sizes(embedding=1024, encoder=1024, layers=4, decoder=1024, dropout=0.2)
LENGTH = 29  # pieces a sentence; 30 with the end mark
BATCHES = 20
NO_GPU = "torch sees no GPU here"
KIND = Kind("nmt", "bf16")
LARGEST = 4096  # sentences a batch
LOOPS = ("fused", "eager")


def rows(plan: Plan) -> list[Row]:
    """All rows of a GPU; where there is none, rows that say so."""
    if not torch.cuda.is_available():
        return [unmeasured(name, NO_GPU) for name in (*MEASURES, WAITING)]
    plan = replace(plan, device="cuda")
    return [row for measure in MEASURES.values() for row in measure(plan)]


def _ids(plan: Plan, pieces: int, sentences: int) -> Path:
    return equal_ids(plan.folder, pieces, sentences=sentences, length=LENGTH, batches=BATCHES)


def bahdanau(plan: Plan) -> list[Row]:
    """Measure tokens per second at 128 sentences per batch, fused and step by step.

    For the fused recurrence also memory, the share of waiting, and a profile.
    """
    plan = replace(plan, sizes=BAHDANAU, ids=_ids(plan, 16_000, 128))
    found: list[Row] = []
    for loop in LOOPS:
        try:
            rows = _with(_of_loop(plan, loop), {"recurrence": loop})
        except UserError as error:  # what one way cannot do leaves the others their figures
            rows = [unmeasured(f"{BAHDANAU_TRAINING}, {loop}", str(error))]
        if found and found[0].values and rows[0].values:
            ratios = [a / b for a, b in zip(found[0].values, rows[0].values, strict=True)]
            rows[0] = replace(rows[0], baseline=f"{KIND.name} {LOOPS[0]}", ratios=ratios)
        found += rows
    return found


def _of_loop(plan: Plan, loop: str) -> list[Row]:
    with Field([KIND], plan, {"loop": loop}) as field:
        rows = _named(training_rows(field), BAHDANAU_TRAINING)
        rows.append(_memory(field, BAHDANAU_TRAINING))
        if loop != "eager":
            rows += [_waiting(field), *_profile(field)]
        return rows


def gnmt(plan: Plan) -> list[Row]:
    """Tokens a second of 4+4 layers and 32,000 pieces, at the batch where they are most."""
    best: list[Row] = []
    sentences = 128
    while sentences <= LARGEST:
        at = replace(plan, sizes=GNMT, ids=_ids(plan, 32_000, sentences))
        try:
            with Field([KIND], at, {"model": "gnmt"}) as field:
                found = [*training_rows(field), _memory(field, GNMT_TRAINING)]
        except UserError as error:
            if "memory" not in str(error):
                raise
            break
        if best and _median(found[0]) < 1.03 * _median(best[0]):
            break
        best = _with(found, {"sentences": sentences})
        sentences *= 2
    return _named(best, GNMT_TRAINING)


def translating(plan: Plan) -> list[Row]:
    """Target pieces a second at beam 5, 128 sentences a batch, GNMT's size, all of 30 pieces."""
    plan = replace(plan, sizes=GNMT, ids=_ids(plan, 32_000, 128))
    what = {"beam": 5, "sentences": 128, "first": 0, "count": 512, "length": LENGTH + 1}
    with Field([KIND], plan, {"model": "gnmt"}) as field:
        contender = field.contenders[KIND.name]
        contender.ask("translate", **what)
        told = [contender.ask("translate", **what) for _ in range(plan.repetitions)]
        values = [answer["target_pieces"] / answer["seconds"] for answer in told]
        return [
            Row(TRANSLATING, KIND.name, "target pieces/s", values, field.conditions(KIND.name)),
            _memory(field, TRANSLATING),
        ]


def _memory(field: Field, measure: str) -> Row:
    told = field.contenders[KIND.name].ask("memory")
    peak = told["device_peak"] / 1e9
    return Row(f"{measure}: memory", KIND.name, "GB", [peak], field.conditions(KIND.name))


def _waiting(field: Field) -> Row:
    contender = field.contenders[KIND.name]
    told = [contender.ask("busy", first=0, updates=field.plan.updates) for _ in range(3)]
    values = [100 * max(0.0, 1 - one["kernels"] / one["seconds"]) for one in told]
    note = "time without a kernel, under the profiler, which adds to it"
    return Row(WAITING, KIND.name, "%", values, field.conditions(KIND.name), note=note)


def _profile(field: Field) -> list[Row]:
    return profile_rows(field, PROFILE, task="train", first=0, updates=field.plan.updates)


def _median(row: Row) -> float:
    return float(row.to_dict()["median"])


def _named(found: list[Row], measure: str) -> list[Row]:
    return [replace(row, measure=measure) if row.measure == "training" else row for row in found]


def _with(found: list[Row], more: Mapping[str, Any]) -> list[Row]:
    return [replace(row, conditions={**row.conditions, **more}) for row in found]


BAHDANAU_TRAINING = "GPU training, Bahdanau 1024, 16,000 pieces, 128 sentences"
GNMT_TRAINING = "GPU training, GNMT 4+4x1024, 32,000 pieces, best batch"
TRANSLATING = "GPU translating, beam 5, 128 sentences, GNMT 4+4x1024"
PROFILE = "GPU: what training's time goes to"
WAITING = "GPU: share of training time that the device waits"

MEASURES: dict[str, Callable[[Plan], list[Row]]] = {
    BAHDANAU_TRAINING: bahdanau,
    GNMT_TRAINING: gnmt,
    TRANSLATING: translating,
}
