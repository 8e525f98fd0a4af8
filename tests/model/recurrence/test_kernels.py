"""Triton's kernels against float64, through Triton's interpreter: no GPU is needed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("interpreted.py")
CASES = ["-".join(case) for case in product(("additive", "bilinear"), ("look", "move"))]

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed; pip install triton"
)


@pytest.fixture(scope="module")
def errors() -> dict[str, dict[str, tuple[float, str]]]:
    """Of every tensor in every case, with the type it came in."""
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    called = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True
    )
    assert called.returncode == 0, called.stderr
    found: dict[str, Any] = json.loads(called.stdout)
    return found


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
