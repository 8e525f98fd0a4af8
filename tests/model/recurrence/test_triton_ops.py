"""Tests of the Triton kernels against float64, in Triton's interpreter: no GPU is needed."""

from itertools import product
from typing import Any

import pytest

from tests.interpreter import interpreted, needs_triton

CASES = ["-".join(case) for case in product(("additive", "bilinear"), ("before", "after"))]

pytestmark = needs_triton


@pytest.fixture(scope="module")
def errors() -> dict[str, dict[str, tuple[float, str]]]:
    """Relative error and dtype of every tensor in every case."""
    found: dict[str, Any] = interpreted("tests/model/recurrence/interpreted_ops.py")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", ["small", "large"])
def test_kernels_are_exact_in_float32(errors: Any, case: str, size: str) -> None:
    for name, (error, dtype) in errors[f"{case}-{size}-float32"].items():
        assert error < 3e-6, name
        assert dtype == "torch.float32"


@pytest.mark.parametrize("case", CASES)
def test_kernels_are_close_in_bfloat16(errors: Any, case: str) -> None:
    """Tensors in the dtype of the products have 8 significant bits, 0.4 %; sums have 24."""
    for name, (error, dtype) in errors[f"{case}-large-bfloat16"].items():
        assert error < 0.03, name
        wide = name in ("weights", "cells", "d_cell_lbd")
        assert dtype == ("torch.float32" if wide else "torch.bfloat16"), name
