"""The device that a model runs on, and the way products are computed there."""

import ctypes
import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from shutil import which
from typing import Any, Literal

import torch

from nmt.errors import UserError

DeviceName = Literal["auto", "cpu", "cuda"]

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context of a forward pass in bf16 or fp16; none for other precisions."""
    if precision not in HALF:
        return nullcontext()
    return torch.autocast(device.type, HALF[precision])


def prepare_device(
    name: str, *, threads: int | None = None, deterministic: bool = False
) -> torch.device:
    """The device of that name, ready for use.

    Args:
        name: auto (a GPU if there is one), cpu or cuda
        threads: CPU threads; torch's own choice when not given
        deterministic: only repeatable kernels

    Raises:
        UserError: when there is no such device
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if deterministic:
        # With another workspace cuBLAS may round otherwise from run to run, and torch refuses it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UserError("device 'cuda': torch sees no GPU here; use cpu or auto")
    if name == "cuda" or (name == "auto" and has_gpu):
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        return torch.device("cuda")
    keep_freed_memory()
    use_onednn_for_products()
    torch.set_flush_denormal(True)
    return torch.device("cpu")


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next tensor; whether there is a glibc to be asked.

    Otherwise it gives large blocks back to the system, and gets them page by page, zeroed, a moment
    later: five to ten percent of the time of training, and of translating, on a CPU.

    All threads share one arena. Each would keep its own otherwise, and no tensor would ever use
    what the thread that makes batches freed after it had planned an epoch.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    asked = [mallopt(_TRIM_THRESHOLD, 2**31 - 1), mallopt(_MMAP_MAX, 0), mallopt(_ARENA_MAX, 1)]
    return asked == [1, 1, 1]


def use_onednn_for_products() -> bool:
    """Send float32 matrix products on the CPU to oneDNN; whether they go there now.

    On CPUs other than Intel's, oneDNN is faster than the library torch calls by default (1.3 to
    2.5 times on AMD Zen), and it gives a row of a product the same bits whatever the number of
    rows. The switch is named after bfloat16, which a CPU with AMX would really use: there it stays
    off. Without AMX the products stay float32, and that is tested here, not believed.
    """
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if matmul is None or not has_onednn or _has_amx():
        return False
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    if _product_error() < 1e-5:
        return True
    matmul.fp32_precision = before
    return False


def _has_amx() -> bool:
    return bool(torch.cpu._is_amx_tile_supported())


def _product_error() -> float:
    """Relative error of a float32 product against float64; bfloat16 would give about 3e-3."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 96, 96, generator=generator)
    exact = left.double() @ right.double()
    return float(((left @ right).double() - exact).norm() / exact.norm())


@cache
def compiles_kernels() -> bool:
    """Whether Triton is installed, and the C compiler that it calls."""
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    return find_spec("triton") is not None and any(name and which(name) for name in compilers)
