"""The libraries that compute float32 matrix products on a CPU, each with its own rounding."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nmt.cpu_tuning import use_onednn_for_products

PRODUCT_LIBRARIES = ("torch's default", "oneDNN")


@contextmanager
def product_library(name: str) -> Iterator[bool]:
    """Let a library compute products; yield whether it does here.

    A Python program has torch's default, and a command has oneDNN if the CPU permits it.
    """
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "none"
        yield name != "oneDNN" or use_onednn_for_products()
    finally:
        matmul.fp32_precision = before
