"""The smallest Triton kernel; whether it can be launched is the test for all others."""

# Triton compiles the source text and has its own annotations, so shapes are not checked in tests.
from typing import no_type_check

import torch
import triton
import triton.language as tl

from nmt.kernels import launch


def store_one(device: torch.device) -> None:
    """Launch a kernel that writes one number, and wait for the number.

    Raises:
        RuntimeError: the kernel cannot be launched, or the number is wrong
    """
    number = torch.zeros(1, device=device)
    launch(_store_one, (1,), number)
    if number.item() != 1.0:
        raise RuntimeError(f"a kernel that stores 1 has stored {number.item()}")


@triton.jit
@no_type_check
def _store_one(output):
    """Store 1."""
    tl.store(output, 1.0)
