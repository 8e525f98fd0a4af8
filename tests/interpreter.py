"""Triton kernels without a GPU: scripts that run its interpreter in their own process."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed; pip install triton"
)


def interpreted(script: str) -> Any:
    """Run a script, given by its path from the root, and return the JSON that it prints."""
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    called = subprocess.run(
        [sys.executable, str(ROOT / script)], env=environment, capture_output=True, text=True
    )
    assert called.returncode == 0, called.stderr
    return json.loads(called.stdout)
