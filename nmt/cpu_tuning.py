"""Process-wide CPU settings, which the commands apply to their own process.

They affect all code of a process, so importing `nmt`, loading a model and translating apply none. A
Python program that wants the speed of the commands calls `apply` once, before its first forward
pass:

    from nmt import Translator, cpu_tuning
    cpu_tuning.apply()
    translator = Translator.load("runs/multi30k_de_en")
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
    """Apply all settings to this process, for training and translating on a CPU."""
    return Applied(
        keeps_freed_memory=keep_freed_memory(),
        uses_onednn=use_onednn_for_products(),
        # The first moment of a parameter without gradients, such as the embedding of a rare token,
        # becomes denormal after about 830 updates of Adam (0.9^830 = 1e-38). A step of Adam on such
        # moments takes 3.1 times as long (Intel Xeon with AVX-512).
        flushes_denormals=torch.set_flush_denormal(True),
    )


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor; return whether the process uses glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    # By default glibc returns large blocks to the system and gets them back a moment later, page by
    # page and zeroed: 5 to 10 % of the time of training and of translating.
    reuses = mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) + mallopt(_M_MMAP_MAX, 0)
    # With one arena per thread, no other thread could use the memory that the batch-loading thread
    # frees after it has planned an epoch.
    shares = mallopt(_M_ARENA_MAX, 1)
    return bool(reuses == 2 and shares == 1)


def use_onednn_for_products() -> bool:
    """Send float32 matrix products to oneDNN where they stay float32; return whether they do."""
    # Products take 1.3 to 2.5 times less time on AMD Zen, where torch calls MKL by default.
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if matmul is None or not has_onednn or _has_amx():
        return False
    # The switch permits bfloat16, which only CPUs with AMX use. On all others the error is measured
    # rather than assumed.
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
