"""Kernels, launches and waits of some work on a GPU, by torch's profiler."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity

WAITS = ("cudaStreamSynchronize", "cuStreamSynchronize", "cudaMemcpy", "Pageable")
"""Calls of the driver, and copies, that let the host wait.

The profiler itself synchronizes the device, and the host waits for events on purpose, one update
late.
"""
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")


@dataclass(frozen=True)
class Profile:
    """Kernels and driver calls of some work.

    Attributes:
        kernels: microseconds and number of calls of each kernel, the longest first
        calls: number of calls of each function of the driver
    """

    kernels: dict[str, tuple[float, int]]
    calls: Counter[str]

    @property
    def microseconds(self) -> float:
        """Return the time in which kernels ran."""
        return sum(time for time, _ in self.kernels.values())

    @property
    def launches(self) -> int:
        """Return the number of launches, those of whole graphs included."""
        return sum(n for name, n in self.calls.items() if name.startswith(LAUNCHES))

    def waits(self) -> Counter[str]:
        """Return the number of calls that let the host wait, by name."""
        found = {name: n for name, n in self.calls.items() if name.startswith(WAITS[:2])}
        found |= {name: n for name, n in self.calls.items() if name == WAITS[2]}
        found |= {name: n for name, (_, n) in self.kernels.items() if WAITS[3] in name}
        return Counter(found)


def profile(work: Callable[[], object]) -> Profile:
    """Run some work on the GPU under the profiler."""
    torch.cuda.synchronize()
    with torch.profiler.profile(
        activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]
    ) as profiler:
        work()
        torch.cuda.synchronize()
    kernels, calls = {}, Counter[str]()
    for event in profiler.key_averages():
        # Annotated spans contain other events, which would be counted twice.
        if event.is_user_annotation:
            continue
        if event.device_type.name == "CUDA":
            kernels[event.key] = (event.self_device_time_total, event.count)
        elif event.key.startswith("cu"):
            calls[event.key] = event.count
    longest = sorted(kernels, key=lambda name: -kernels[name][0])
    return Profile({name: kernels[name] for name in longest}, calls)


def count_waits(work: Callable[[], object]) -> tuple[int, str]:
    """Return the number of waits during some work, and their names."""
    waits = profile(work).waits()
    names = ", ".join(f"{n} {name}" for name, n in waits.items())
    return sum(waits.values()), names
