"""Measures of a GPU: training, translation, memory and idle time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.results import Row, unmeasured
from harness.text import equal_ids
from harness.worker_process import Contender, Plan, WorkerPool
from measures.profile import profile_rows
from measures.training import training_rows
from nmt.errors import UserError
from workers.ids import Sizes

BAHDANAU = Sizes(embedding=512, encoder=512, layers=2, decoder=1024, readout=512, dropout=0.2)
GNMT = Sizes(embedding=1024, encoder=1024, layers=4, decoder=1024, dropout=0.2)
LENGTH = 29  # tokens per sentence; 30 with </s>
BATCHES = 20
CONTENDER = Contender("nmt", "bf16")
NAME = CONTENDER.name
MAX_SENTENCES = 4096  # per batch
LOOPS = ("fused", "eager")

BAHDANAU_TRAINING = "GPU training, Bahdanau 1024, 16,000 subwords, 128 sentences"
GNMT_TRAINING = "GPU training, GNMT 4+4x1024, 32,000 subwords, best batch"
TRANSLATION = "GPU translation, beam 5, 128 sentences, GNMT 4+4x1024"
PROFILE = "GPU: profile of training"
IDLE = "GPU: share of training time without a kernel"


def rows(plan: Plan) -> Iterator[Row]:
    """Measure everything; without a GPU, return rows that say so."""
    if not torch.cuda.is_available():
        yield from (unmeasured(name, "torch finds no GPU") for name in (*MEASURES, IDLE))
        return
    for measure in MEASURES.values():
        yield from measure(replace(plan, device="cuda"))


def _ids(plan: Plan, size: int, sentences: int) -> Path:
    return equal_ids(plan.folder, size, sentences=sentences, length=LENGTH, batches=BATCHES)


def bahdanau(plan: Plan) -> Iterator[Row]:
    """Measure tokens per second at 128 sentences per batch, fused and eager.

    For the fused recurrence, also measure memory and idle time and profile an update.
    """
    plan = replace(plan, sizes=BAHDANAU, ids=_ids(plan, 16_000, 128))
    fused: Row | None = None
    for loop in LOOPS:
        try:
            found = _with(_bahdanau(plan, loop), {"recurrence": loop})
        except UserError as error:  # the other loop can still be measured
            yield unmeasured(f"{BAHDANAU_TRAINING}, {loop}", str(error))
            continue
        if fused is None:
            fused = found[0]
        else:
            ratios = [a / b for a, b in zip(fused.values, found[0].values, strict=True)]
            found[0] = replace(found[0], baseline=f"{NAME} {LOOPS[0]}", ratios=ratios)
        yield from found


def _bahdanau(plan: Plan, loop: str) -> list[Row]:
    with WorkerPool([CONTENDER], plan, {"loop": loop}) as pool:
        found = _named(training_rows(pool), BAHDANAU_TRAINING)
        found.append(_memory(pool, BAHDANAU_TRAINING))
        if loop != "eager":
            found.append(_idle(pool))
            found += profile_rows(pool, PROFILE, task="train", first=0, updates=plan.updates)
        return found


def gnmt(plan: Plan) -> Iterator[Row]:
    """Measure tokens per second of 4+4 layers and 32,000 subwords at the best batch size."""
    best: list[Row] = []
    sentences = 128
    while sentences <= MAX_SENTENCES:
        larger = replace(plan, sizes=GNMT, ids=_ids(plan, 32_000, sentences))
        try:
            with WorkerPool([CONTENDER], larger, {"model": "gnmt"}) as pool:
                found = [*training_rows(pool), _memory(pool, GNMT_TRAINING)]
        except UserError as error:
            if "memory" not in str(error):
                raise
            break
        if best and _median(found[0]) < 1.03 * _median(best[0]):
            break
        best = _with(found, {"sentences": sentences})
        sentences *= 2
    yield from _named(best, GNMT_TRAINING)


def translation(plan: Plan) -> Iterator[Row]:
    """Measure target tokens per second with beam 5, 128 sentences, all of 30 tokens."""
    plan = replace(plan, sizes=GNMT, ids=_ids(plan, 32_000, 128))
    task = {"beam": 5, "sentences": 128, "first": 0, "count": 512, "length": LENGTH + 1}
    with WorkerPool([CONTENDER], plan, {"model": "gnmt"}) as pool:
        worker = pool.workers[NAME]
        worker.request("translate", **task)
        answers = [worker.request("translate", **task) for _ in range(plan.repetitions)]
        values = [answer["target_tokens"] / answer["seconds"] for answer in answers]
        yield Row(TRANSLATION, NAME, "target tokens/s", values, pool.conditions(NAME))
        yield _memory(pool, TRANSLATION)


def _memory(pool: WorkerPool, measure: str) -> Row:
    peak = pool.workers[NAME].request("memory")["device_peak"] / 1e9
    return Row(f"{measure}: memory", NAME, "GB", [peak], pool.conditions(NAME))


def _idle(pool: WorkerPool) -> Row:
    worker = pool.workers[NAME]
    answers = [worker.request("busy", first=0, updates=pool.plan.updates) for _ in range(3)]
    values = [100 * max(0.0, 1 - one["kernels"] / one["seconds"]) for one in answers]
    note = "under the profiler, which adds idle time"
    return Row(IDLE, NAME, "%", values, pool.conditions(NAME), note=note)


def _median(row: Row) -> float:
    return float(row.to_dict()["median"])


def _named(found: list[Row], measure: str) -> list[Row]:
    return [replace(row, measure=measure) if row.measure == "training" else row for row in found]


def _with(found: list[Row], more: Mapping[str, Any]) -> list[Row]:
    return [replace(row, conditions={**row.conditions, **more}) for row in found]


MEASURES: dict[str, Callable[[Plan], Iterator[Row]]] = {
    BAHDANAU_TRAINING: bahdanau,
    GNMT_TRAINING: gnmt,
    TRANSLATION: translation,
}
