"""The device, and the switch of products to oneDNN."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from nmt.errors import UserError
from nmt.model import devices

MATMUL: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _switch_as_before() -> Iterator[None]:
    before = MATMUL.fp32_precision
    yield
    MATMUL.fp32_precision = before
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("size", [7, 96, 300])
def test_products_stay_float32_whether_or_not_they_go_to_onednn(size: int) -> None:
    devices.use_onednn_for_products()
    left, right = torch.randn(2, size, size, generator=torch.Generator().manual_seed(size))
    exact = left.double() @ right.double()
    assert (left @ right - exact).norm() / exact.norm() < 1e-5
    product = torch.nn.functional.linear(left, right.T, torch.zeros(size))
    assert (product - exact).norm() / exact.norm() < 1e-5


def test_the_switch_stays_off_where_a_cpu_would_really_use_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = MATMUL.fp32_precision
    monkeypatch.setattr(devices, "_has_amx", lambda: True)
    assert devices.use_onednn_for_products() is False
    assert MATMUL.fp32_precision == before


def test_the_switch_goes_back_when_products_lose_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, seen = MATMUL.fp32_precision, []

    def coarse() -> float:
        seen.append(MATMUL.fp32_precision)
        return 3e-3

    monkeypatch.setattr(devices, "_has_amx", lambda: False)
    monkeypatch.setattr(devices, "_product_error", coarse)
    assert devices.use_onednn_for_products() is False
    assert seen == ["bf16"]
    assert MATMUL.fp32_precision == before


def test_the_error_of_a_product_would_show_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = devices._product_error()
    product = torch.Tensor.__matmul__

    def narrow(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if left.dtype == torch.float64:
            return product(left, right)
        return product(left.bfloat16(), right.bfloat16()).float()

    monkeypatch.setattr(torch.Tensor, "__matmul__", narrow)
    assert whole < 1e-5 < 1e-3 < devices._product_error()


def test_a_gpu_that_is_not_there_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no GPU here; use cpu or auto"):
        devices.prepare_device("cuda")
    assert devices.prepare_device("auto") == devices.prepare_device("cpu") == torch.device("cpu")


def test_threads_are_set_when_they_are_given() -> None:
    before = torch.get_num_threads()
    try:
        devices.prepare_device("cpu", threads=2)
        assert torch.get_num_threads() == 2
        devices.prepare_device("cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("given", [None, ":16:8"])
def test_products_on_a_gpu_have_a_workspace_that_torch_takes_for_repeatable(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {} if given is None else {"CUBLAS_WORKSPACE_CONFIG": given}
    monkeypatch.setattr(os, "environ", environment)
    devices.prepare_device("cpu")
    assert environment.get("CUBLAS_WORKSPACE_CONFIG") == given
    try:
        devices.prepare_device("cpu", deterministic=True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert environment["CUBLAS_WORKSPACE_CONFIG"] == (given or ":4096:8")


def _without_and_with(program: str) -> list[int]:
    """What a program prints in a process that keeps no freed memory, and in one that does."""
    called = [[sys.executable, "-c", program, *arguments] for arguments in ([], ["keep"])]
    return [int(subprocess.check_output(one)) for one in called]


FAULTS = """
import resource, sys, torch
from nmt.model.devices import keep_freed_memory
if sys.argv[1:]:
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(60):
    torch.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_what_is_freed_is_used_again_without_asking_the_system() -> None:
    given, kept = _without_and_with(FAULTS)
    # What is freed serves a request of the same size only when it lies well, so not every time.
    assert kept < given / 2, "32 MB in pages of 4 KB, sixty times"


ARENAS = """
import sys
from threading import Thread
import torch
from nmt.model.devices import keep_freed_memory
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
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_what_a_thread_freed_is_used_by_the_others() -> None:
    given, kept = _without_and_with(ARENAS)
    assert kept < given + 64, "128 MB, by one thread and then by another"
