"""The largest memory of training, and that of the same training in an eager loop.

The eager loop is `Decoder.forward`: a step of the whole decoder after another, as autograd keeps
it. Each is measured in a process of its own, since a process's peak never falls.
"""

from dataclasses import replace

from harness.contender import Kind
from harness.results import Row
from harness.text import equal_ids
from measures.training import Field, Plan

GIGABYTE = 1e9
SENTENCES, LENGTH = 128, 49  # pieces a sentence; 50 with the end mark


def memory_rows(kind: Kind, plan: Plan, pieces: int, *, updates: int) -> list[Row]:
    """Peak of our training less that of the process before its first update, both ways.

    On batches of chance, all of 128 sentences of 50 pieces on each side, of so many there are.
    """
    ids = equal_ids(plan.folder, pieces, sentences=SENTENCES, length=LENGTH, batches=2)
    plan = replace(plan, warmup=0, ids=ids)
    rows: list[Row] = []
    for loop in ("ours", "eager"):
        with Field([kind], plan, {"loop": loop} if loop == "eager" else {}) as field:
            contender = field.contenders[kind.name]
            before = contender.ask("memory")["peak"]
            contender.ask("train", first=0, updates=updates)
            told = contender.ask("memory")
            peak = told["peak"] - before if told["device_peak"] is None else told["device_peak"]
            note = f"the process before: {before / GIGABYTE:.2f} GB; {updates} updates"
            name = f"{kind.name}, eager loop" if loop == "eager" else kind.name
            conditions = field.conditions(kind.name)
            conditions |= {"sentences": SENTENCES, "pieces each": LENGTH + 1}
        found = Row("training memory", name, "GB", [peak / GIGABYTE], conditions, note=note)
        rows.append(found)
    ours, eager = (row.values[0] for row in rows)
    return [rows[0], replace(rows[1], baseline=rows[0].contender, ratios=[ours / eager])]
