"""Where the time of training and of translating goes, by torch's profiler."""

from dataclasses import replace
from typing import Any

from harness.contender import Kind
from harness.results import Row
from measures.training import Field, Plan


def profiles(plan: Plan) -> list[Row]:
    """Of our training and translating on one thread, so that shares are those of the work."""
    plan = replace(plan, threads=1)
    found = []
    for kind in (Kind("nmt"), Kind("nmt", "bf16")):
        with Field([kind], plan) as field:
            field.contenders[kind.name].ask("train", first=0, updates=plan.warmup)
            asked: dict[str, Any] = {"first": plan.warmup, "updates": plan.updates}
            found += profile_rows(field, "training: where its time goes", task="train", **asked)
            if kind.dtype == "fp32":
                weights = str(plan.folder / "profiled.pt")
                for do in ("save", "load"):  # which lays the weights out for translating
                    field.contenders[kind.name].ask(do, path=weights)
                asked = {"beam": 5, "sentences": 64, "first": 0, "count": 128, "length": 12}
                measure = "translating: where its time goes"
                found += profile_rows(field, measure, task="translate", **asked)
    return found


def profile_rows(field: Field, measure: str, **asked: Any) -> list[Row]:
    """The operations, on a GPU the kernels, that took longest in the first contender's task."""
    (name, contender), *_ = field.contenders.items()
    return [
        Row(measure, name, "% of the time", [100 * share], field.conditions(name), note=operation)
        for operation, share in contender.ask("profile", **asked)["shares"]
    ]
