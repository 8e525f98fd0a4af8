"""Operations that take the most time in training and translation, by torch's profiler."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from harness.results import Row
from harness.worker_process import Contender, Plan, WorkerPool


def profiles(plan: Plan) -> Iterator[Row]:
    """Profile our training and translation on one thread, so that shares are those of the work."""
    plan = replace(plan, threads=1)
    for contender in (Contender("nmt"), Contender("nmt", "bf16")):
        with WorkerPool([contender], plan) as pool:
            worker = pool.workers[contender.name]
            worker.request("train", first=0, updates=plan.warmup)
            task: dict[str, Any] = {"first": plan.warmup, "updates": plan.updates}
            yield from profile_rows(pool, "profile of training", task="train", **task)
            if contender.dtype == "fp32":
                search = {"beam": 5, "sentences": 64, "first": 0, "length": 12}
                worker.request("translate", count=64, **search)  # compiles the model for inference
                task = {**search, "count": 128}
                yield from profile_rows(pool, "profile of translation", task="translate", **task)


def profile_rows(pool: WorkerPool, measure: str, **task: Any) -> list[Row]:
    """Return the longest operations, on a GPU kernels, of a task of the first contender."""
    (name, worker), *_ = pool.workers.items()
    return [
        Row(measure, name, "% of the time", [100 * share], pool.conditions(name), note=operation)
        for operation, share in worker.request("profile", **task)["shares"]
    ]
