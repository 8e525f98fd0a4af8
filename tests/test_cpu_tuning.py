"""Process-wide CPU settings: products stay float32, and freed memory is reused."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from nmt import cpu_tuning

MATMUL: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="requires glibc")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = MATMUL.fp32_precision
    yield
    MATMUL.fp32_precision = before
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("size", [7, 96, 300])
def test_products_stay_float32_with_and_without_onednn(size: int) -> None:
    cpu_tuning.use_onednn_for_products()
    left, right = torch.randn(2, size, size, generator=torch.Generator().manual_seed(size))
    exact = left.double() @ right.double()
    assert (left @ right - exact).norm() / exact.norm() < 1e-5
    product = torch.nn.functional.linear(left, right.T, torch.zeros(size))
    assert (product - exact).norm() / exact.norm() < 1e-5


def test_the_switch_stays_off_on_cpus_with_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    before = MATMUL.fp32_precision
    monkeypatch.setattr(cpu_tuning, "_has_amx", lambda: True)
    assert cpu_tuning.use_onednn_for_products() is False
    assert MATMUL.fp32_precision == before


def test_the_switch_is_reset_when_products_lose_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = MATMUL.fp32_precision, []

    def coarse() -> float:
        seen.append(MATMUL.fp32_precision)
        return 3e-3

    monkeypatch.setattr(cpu_tuning, "_has_amx", lambda: False)
    monkeypatch.setattr(cpu_tuning, "_product_error", coarse)
    assert cpu_tuning.use_onednn_for_products() is False
    assert seen == ["bf16"]
    assert MATMUL.fp32_precision == before


def test_the_measured_error_reveals_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = cpu_tuning._product_error()
    product = torch.Tensor.__matmul__

    def narrow(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if left.dtype == torch.float64:
            return product(left, right)
        return product(left.bfloat16(), right.bfloat16()).float()

    monkeypatch.setattr(torch.Tensor, "__matmul__", narrow)
    assert exact < cpu_tuning.FLOAT32_ERROR < 1e-3 < cpu_tuning._product_error()


def test_apply_reports_the_settings_that_took_effect() -> None:
    applied = cpu_tuning.apply()
    assert applied.keeps_freed_memory == (platform.libc_ver()[0] == "glibc")
    assert applied.uses_onednn == (MATMUL.fp32_precision == "bf16")
    denormal = torch.tensor(1e-40)
    assert applied.flushes_denormals == (float(denormal * 1.0) == 0.0)


MEMORY = """
import resource, sys
from threading import Thread
import torch
from nmt.cpu_tuning import keep_freed_memory
if sys.argv[1:]:
    assert keep_freed_memory()
def plan():
    kept = [torch.ones(1 << 22) for _ in range(8)]
thread = Thread(target=plan)
thread.start()
thread.join()
tensors = [torch.ones(1 << 22) for _ in range(8)]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
del tensors
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    torch.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture(scope="module")
def memory() -> list[list[int]]:
    """Peak memory and page faults of a program without and with `keep_freed_memory`."""
    commands = [[sys.executable, "-c", MEMORY, *arguments] for arguments in ([], ["keep"])]
    return [list(map(int, subprocess.check_output(command).split())) for command in commands]


@pytest.mark.slow
@needs_glibc
def test_freed_memory_is_reused_without_page_faults(memory: list[list[int]]) -> None:
    (_, untuned), (_, tuned) = memory
    # A freed block serves a request of its size only if no neighbor is in use, so not every time.
    assert tuned < untuned / 2, "32 MB in pages of 4 KB, thirty times"


@pytest.mark.slow
@needs_glibc
def test_memory_freed_by_a_thread_is_reused_by_others(memory: list[list[int]]) -> None:
    (untuned, _), (tuned, _) = memory
    assert tuned < untuned + 64, "128 MB, by one thread and then by another"
