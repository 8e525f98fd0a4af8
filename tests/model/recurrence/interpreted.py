"""Runs Triton's kernels on a CPU, against torch's operations in float64; errors as JSON.

It wants TRITON_INTERPRET=1 from its start, and leaves other tests a process without it.
"""

import json
import sys
from itertools import product

import torch

from nmt.model.recurrence import triton_steps
from nmt.model.recurrence.fused import steps_for
from nmt.model.recurrence.steps import TorchSteps
from nmt.model.recurrence.triton_steps import TritonSteps
from tests.model.recurrence.drawn import cast, draw, error, results

TYPES = [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
# Several blocks, of which the last one is not full.
triton_steps.WIDEST = 4


def main() -> None:
    """Every form and order; one layer in one position, and two layers."""
    found = {}
    for form, order, shape in product(
        ("additive", "bilinear"), ("look", "move"), ("small", "large")
    ):
        sizes = {"positions": 1} if shape == "small" else {"layers": 2}
        given = draw(additive=form == "additive", looks_first=order == "look", steps=2, **sizes)
        exact = results(given, TorchSteps())
        for name, dtype in TYPES[: 1 if shape == "small" else 2]:
            narrow = cast(given, dtype)
            steps = steps_for(narrow)
            assert isinstance(steps, TritonSteps), "the kernels do not serve"
            near = results(narrow, steps)
            assert near.keys() == exact.keys()
            found[f"{form}-{order}-{shape}-{name}"] = {
                key: [error(near[key], exact[key]), str(near[key].dtype)] for key in exact
            }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
