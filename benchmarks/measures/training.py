"""Training speed in target tokens per second."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from harness.results import Row, ratios
from harness.work import training_flops
from harness.worker_process import WorkerPool
from workers.ids import Ids


def training_rows(pool: WorkerPool) -> list[Row]:
    """Measure tokens per second of every contender, and the first one's ratio to the others."""
    plan = pool.plan
    pool.ask_all("train", lambda name: {"first": 0, "updates": plan.warmup})
    answers = pool.take_turns(
        "train",
        lambda number: {"first": plan.warmup + number * plan.updates, "updates": plan.updates},
        plan.repetitions,
    )
    speeds = {
        name: [a["target_tokens"] / a["seconds"] for a in all_] for name, all_ in answers.items()
    }
    flops = training_flops(plan.sizes, Ids(plan.ids))
    rows = [_row(pool, name, answers[name], speeds, flops) for name in answers]
    return rows + pool.unmeasured("training")


def _row(
    pool: WorkerPool,
    name: str,
    answers: list[dict[str, Any]],
    speeds: Mapping[str, list[float]],
    flops: float,
) -> Row:
    ours = next(iter(speeds))
    loss = f"loss {answers[0]['loss']:.2f} -> {answers[-1]['loss']:.2f}"
    return Row(
        "training",
        name,
        "target tokens/s",
        speeds[name],
        pool.conditions(name),
        pool.info[name]["versions"],
        baseline=ours,
        ratios=[] if name == ours else ratios(speeds[ours], speeds[name]),
        note="; ".join(part for part in (loss, pool.info[name]["note"]) if part),
        share=pool.plan.share(pool.contenders[name].dtype, flops * median(speeds[name])),
    )
