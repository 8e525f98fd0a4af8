"""Memory and utilization of a GPU, for the reports of training."""

import logging
from functools import cache

import torch

log = logging.getLogger("nmt")

BYTES_PER_GIB = 1 << 30


def gpu_usage(device: torch.device) -> dict[str, float]:
    """Return the metrics of a GPU; none on a CPU.

    Returns:
        `gpu_memory_gib`: the largest memory of tensors so far, in GiB; `gpu_utilization`: percent
        of the last second or less during which a kernel was running, as nvidia-smi reports it, if
        the package nvidia-ml-py is installed
    """
    if device.type != "cuda":
        return {}
    usage = {"gpu_memory_gib": torch.cuda.max_memory_allocated(device) / BYTES_PER_GIB}
    utilization = _utilization(device)
    return usage if utilization is None else usage | {"gpu_utilization": utilization}


def _utilization(device: torch.device) -> float | None:
    try:
        return float(torch.cuda.utilization(device))
    # Without the package, without its driver, and on a slice of a GPU, which has no such counter.
    except (ImportError, RuntimeError) as error:
        _report_once(str(error))
        return None


@cache
def _report_once(reason: str) -> None:
    log.info("gpu_utilization is not reported: %s", " ".join(reason.split()))
