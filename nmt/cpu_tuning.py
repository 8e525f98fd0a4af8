"""Process-wide settings that the commands apply to their own process, and a library never does.

Importing `nmt`, loading a model and translating change none of them. A program that wants the
speed of the commands calls `apply` itself, once, before its first forward pass.
"""

import ctypes
import os
from typing import NamedTuple

import torch

# Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8

# Relative error of a float32 matrix product; one in bfloat16 has about 3e-3.
FLOAT32_ERROR = 1e-5


class Applied(NamedTuple):
    """The settings that took effect.

    Attributes:
        keeps_freed_memory: the allocator keeps freed memory for the next tensor
        uses_onednn: float32 matrix products go to oneDNN
        flushes_denormals: denormal numbers count as zero
    """

    keeps_freed_memory: bool
    uses_onednn: bool
    flushes_denormals: bool


def apply() -> Applied:
    """Tune this process for training and translating on a CPU."""
    return Applied(
        keeps_freed_memory=keep_freed_memory(),
        uses_onednn=use_onednn_for_products(),
        # Activations and optimizer moments that decay towards zero become denormal numbers, whose
        # arithmetic is slower by one to two orders of magnitude.
        flushes_denormals=torch.set_flush_denormal(True),
    )


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor; return whether the process uses glibc.

    By default glibc returns large blocks to the system and gets them back page by page, zeroed, a
    moment later: 5 to 10 % of the time of training and of translating on a CPU.

    All threads share one arena. With an arena per thread, no tensor could use the memory that the
    batch-loading thread frees after it has planned an epoch.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    results = [
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1),
        mallopt(_M_MMAP_MAX, 0),
        mallopt(_M_ARENA_MAX, 1),
    ]
    return results == [1, 1, 1]


def use_onednn_for_products() -> bool:
    """Send float32 matrix products on the CPU to oneDNN; return whether they go there now.

    On CPUs other than Intel's, oneDNN is faster than the library that torch calls by default (1.3
    to 2.5 times on AMD Zen), and a row of a product has the same bits whatever the number of rows.
    The switch is named after bfloat16, which a CPU with AMX would really use: there it stays off.
    Without AMX the products stay float32, which is measured here rather than assumed.
    """
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if matmul is None or not has_onednn or _has_amx():
        return False
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    if _product_error() < FLOAT32_ERROR:
        return True
    matmul.fp32_precision = before
    return False


def _has_amx() -> bool:
    return bool(torch.cpu._is_amx_tile_supported())


def _product_error() -> float:
    """Return the relative error of a float32 matrix product against float64."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 96, 96, generator=generator)
    exact = left.double() @ right.double()
    return float(((left @ right).double() - exact).norm() / exact.norm())
