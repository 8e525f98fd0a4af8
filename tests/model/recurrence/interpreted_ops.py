"""Run the Triton kernels in the interpreter; print their errors against float64 as JSON.

Requires TRITON_INTERPRET=1 before Triton is imported, hence a process of its own.
"""

import json
import sys
from itertools import product

import torch

from nmt.model.recurrence import triton_ops
from nmt.model.recurrence.fused import choose_ops
from nmt.model.recurrence.spec import AttentionOrder
from nmt.model.recurrence.torch_ops import TorchCellOps
from nmt.model.recurrence.triton_ops import TritonCellOps
from tests.model.recurrence.random_inputs import cast, random_inputs, relative_error, results

DTYPES = [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
# Several blocks, of which the last one is partly filled.
triton_ops.MAX_BLOCK = 4


def main() -> None:
    """Compare both forms in both orders: one layer with one position, and two layers."""
    errors = {}
    for form, order, size in product(("additive", "bilinear"), AttentionOrder, ("small", "large")):
        # The kernels of the additive form have one v, so they serve a single head.
        heads = 2 if form == "bilinear" else 1
        sizes = {"positions": 1} if size == "small" else {"layers": 2, "heads": heads}
        inputs = random_inputs(additive=form == "additive", order=order, steps=2, **sizes)
        # The form and the gradient of the weights concern different lines of a kernel.
        need_weights = form == "additive"
        exact = results(inputs, order, TorchCellOps(), need_weights=need_weights)
        for name, dtype in DTYPES[: 1 if size == "small" else 2]:
            narrow = cast(inputs, dtype)
            ops = choose_ops(narrow)
            assert isinstance(ops, TritonCellOps), "the kernels are not used"
            found = results(narrow, order, ops, need_weights=need_weights)
            assert found.keys() == exact.keys()
            errors[f"{form}-{order.value}-{size}-{name}"] = {
                key: [relative_error(found[key], exact[key]), str(found[key].dtype)]
                for key in exact
            }
    several = random_inputs(additive=True, order=AttentionOrder.BEFORE, heads=2)
    assert not isinstance(choose_ops(cast(several, torch.float32)), TritonCellOps)
    json.dump(errors, sys.stdout)


if __name__ == "__main__":
    main()
