"""Peak memory of training, and that of the same training with an eager loop.

The eager loop is `Decoder.forward` without kernels in C: one decoder step after the other, as
autograd records them.
Each is measured in its own process, because the peak of a process never decreases.
"""

from collections.abc import Iterator
from dataclasses import replace

from harness.results import Row
from harness.text import equal_ids
from harness.worker_process import Contender, Plan, WorkerPool

GIGABYTE = 1e9
SENTENCES, LENGTH = 128, 49  # tokens per sentence; 50 with </s>


def memory_rows(contender: Contender, plan: Plan, size: int, *, updates: int) -> Iterator[Row]:
    """Measure the peak of training minus that of the process before its first update.

    Batches are random, with 128 sentences of 50 tokens on each side, in a vocabulary of `size`.
    """
    ids = equal_ids(plan.folder, size, sentences=SENTENCES, length=LENGTH, batches=2)
    plan = replace(plan, warmup=0, ids=ids)
    name = contender.name
    peaks: list[float] = []
    for loop in ("ours", "eager"):
        with WorkerPool([contender], plan, {"loop": loop} if loop == "eager" else {}) as pool:
            worker = pool.workers[name]
            before = worker.request("memory")["peak"]
            worker.request("train", first=0, updates=updates)
            memory = worker.request("memory")
            conditions = pool.conditions(name)
        peak = memory["device_peak"] or memory["peak"] - before
        peaks.append(peak / GIGABYTE)
        row = Row(
            "training memory",
            name if loop == "ours" else f"{name}, eager loop",
            "GB",
            [peaks[-1]],
            {**conditions, "sentences": SENTENCES, "tokens per side": LENGTH + 1},
            note=f"the process before: {before / GIGABYTE:.2f} GB; {updates} updates",
        )
        if loop == "eager":
            row = replace(row, baseline=name, ratios=[peaks[0] / peaks[1]])
        yield row
