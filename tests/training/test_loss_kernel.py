"""Loss kernel in Triton's interpreter, which needs no GPU, against torch in float64."""

import pytest
import torch

from tests.interpreter import interpreted, needs_triton

pytestmark = needs_triton


def test_kernel_equals_float64_loss_and_gradient() -> None:
    found = interpreted("tests/training/interpreted_loss_kernel.py")
    assert len(found) == 36
    for case, near, exact, types in found:
        loss, plain_r, d_logits_rv = near
        dtype = case.split()[0]
        assert types == ["torch.float32", "torch.float32", dtype]
        assert loss == pytest.approx(exact[0], rel=1e-6, abs=1e-6), case
        assert plain_r == pytest.approx(exact[1], rel=1e-6, abs=2e-6), case
        torch.testing.assert_close(
            torch.tensor(d_logits_rv),
            torch.tensor(exact[2]),
            # The interpreter truncates where a GPU rounds: one unit in the last place.
            rtol={"torch.float32": 1e-5, "torch.bfloat16": 2**-7, "torch.float16": 2**-10}[dtype],
            atol=1e-6,
            msg=case,
        )
