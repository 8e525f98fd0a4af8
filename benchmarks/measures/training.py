"""Training speed in target tokens per second."""

from collections.abc import Mapping
from typing import Any

from harness.results import Row, interleaved, ratios
from harness.worker_process import WorkerPool, WorkerProcess


def training_rows(pool: WorkerPool) -> list[Row]:
    """Measure tokens per second of every contender, and the first one's ratio to the others."""
    plan = pool.plan
    for worker in pool.workers.values():
        worker.request("train", first=0, updates=plan.warmup)

    def train(worker: WorkerProcess) -> Any:
        def repetition(number: int) -> dict[str, Any]:
            first = plan.warmup + number * plan.updates
            return worker.request("train", first=first, updates=plan.updates)

        return repetition

    runs = {name: train(worker) for name, worker in pool.workers.items()}
    answers = interleaved(runs, plan.repetitions)
    speeds = {
        name: [a["target_tokens"] / a["seconds"] for a in all_] for name, all_ in answers.items()
    }
    return [_row(pool, name, answers[name], speeds) for name in pool.workers]


def _row(
    pool: WorkerPool, name: str, answers: list[dict[str, Any]], speeds: Mapping[str, list[float]]
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
    )
