"""Triton's kernels against float64, through Triton's interpreter: no GPU is needed."""

from itertools import product
from typing import Any

import pytest

from tests.interpreter import interpreted, needs_triton

CASES = ["-".join(case) for case in product(("additive", "bilinear"), ("look", "move"))]

pytestmark = needs_triton


@pytest.fixture(scope="module")
def errors() -> dict[str, dict[str, tuple[float, str]]]:
    """Of every tensor in every case, with the type it came in."""
    found: dict[str, Any] = interpreted("tests/model/recurrence/interpreted.py")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", ["small", "large"])
def test_kernels_are_exact_in_float32(errors: Any, case: str, shape: str) -> None:
    for name, (error, dtype) in errors[f"{case}-{shape}-float32"].items():
        assert error < 3e-6, name
        assert dtype == "torch.float32"


@pytest.mark.parametrize("case", CASES)
def test_kernels_are_near_in_bfloat16(errors: Any, case: str) -> None:
    """Tensors that are as wide as the products have 8 bits, 0.4 %; what is summed has 24."""
    for name, (error, dtype) in errors[f"{case}-large-bfloat16"].items():
        assert error < 0.03, name
        wide = name in ("weights", "cells", "d_cell_lbd")
        assert dtype == ("torch.float32" if wide else "torch.bfloat16"), name
