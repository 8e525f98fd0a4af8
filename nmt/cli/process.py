"""Process-wide settings of the commands; `nmt.api` restores those that it changes.

The allocator, denormal numbers, thread count, matrix products on a CPU and determinism belong to
the process and not to a model, so a program that imports `nmt` keeps its own.
"""

import gc
import os
import sys

from nmt.cli.common import check_interrupt

# Kernels of matrix products that oneDNN keeps, and those that torch keeps. With the default of
# 1,024 each, 2,500 sentences of all lengths take 606 MB with a tiny model; with 128 each they take
# 430 MB and as much time.
SHAPE_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
CACHED_SHAPES = "128"


def limit_shape_caches() -> None:
    """Bound the memory for shapes of matrix products; takes effect before torch is imported.

    Batches of a translation have almost as many shapes as steps, whereas those of training repeat.
    """
    for name in SHAPE_CACHES:
        os.environ.setdefault(name, CACHED_SHAPES)


def import_torch() -> None:
    """Import torch without garbage collection, which would search its 170,000 objects in vain.

    They are frozen, so that later collections do not search them either.
    """
    if "torch" not in sys.modules:
        gc.disable()
        import torch  # noqa: F401

        gc.freeze()
        gc.enable()
    check_interrupt()


def configure_process(
    device: str, *, threads: int | None = None, deterministic: bool = False
) -> None:
    """Set up this process for a command, before its first forward pass.

    Args:
        device: auto, cpu or cuda; a CPU is tuned as `nmt.cpu_tuning` describes
        threads: CPU threads of torch; None keeps torch's own choice
        deterministic: use only kernels that give the same bits in every run

    Raises:
        UserError: the device is not available
    """
    import torch

    from nmt import cpu_tuning
    from nmt.device import resolve_device

    if threads is not None:
        torch.set_num_threads(threads)
    if deterministic:
        # With any other workspace cuBLAS may round differently from run to run, and torch refuses
        # to run it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    if resolve_device(device).type == "cpu":
        cpu_tuning.apply()
