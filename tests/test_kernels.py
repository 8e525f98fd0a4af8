"""Processes without working Triton kernels: one warning, and results by torch's operations."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nmt import kernels
from nmt.kernels import KernelError, compiles_kernels, launch, run_or_fall_back

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A process that has not launched a kernel yet, and in which Triton is installed."""
    monkeypatch.setattr(kernels, "_failures", [])
    monkeypatch.setattr(kernels, "find_spec", lambda name: name)
    kernels._passes_trial.cache_clear()
    yield
    kernels._passes_trial.cache_clear()


def _set_trial(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[torch.device]:
    """Replace the trial by one that may fail; return the devices that it is called with."""
    called = []

    def store_one(device: torch.device) -> None:
        called.append(device)
        if error is not None:
            raise error

    monkeypatch.setitem(sys.modules, "nmt.kernel_trial", SimpleNamespace(store_one=store_one))
    return called


def test_a_cpu_runs_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    called = _set_trial(monkeypatch, None)
    assert not compiles_kernels(CPU)
    assert called == []


def test_a_gpu_runs_kernels_after_one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    called = _set_trial(monkeypatch, None)
    assert compiles_kernels(GPU) and compiles_kernels(GPU)
    assert called == [GPU]


@pytest.mark.parametrize(
    "error",
    [
        subprocess.CalledProcessError(1, ["/usr/bin/gcc", "cuda_utils.c", *["-I/usr"] * 99]),
        RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable."),
        RuntimeError("a kernel that stores 1 has stored 0.0"),
        ImportError("libcuda.so.1: cannot open shared object file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_trial_is_one_warning_with_the_remedy(
    error: Exception, monkeypatch: pytest.MonkeyPatch, log_text: pytest.LogCaptureFixture
) -> None:
    called = _set_trial(monkeypatch, error)
    assert not compiles_kernels(GPU) and not compiles_kernels(GPU)
    assert called == [GPU]
    (record,) = log_text.records
    message = record.getMessage()
    assert record.levelname == "WARNING"
    assert f"({type(error).__name__}: " in message
    assert "\n" not in message and len(message) < 600
    for word in ("python3-dev", "Python.h", "CC", "gcc"):
        assert word in message


class BrokenKernel:
    """A kernel whose launch raises an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def run(*arguments: object, **options: object) -> None:
            raise self._error

        return run


def test_a_failed_launch_raises_a_kernel_error() -> None:
    with pytest.raises(KernelError, match=r"^ValueError: out of resource: shared memory$"):
        launch(BrokenKernel(ValueError("out of resource:\nshared memory")), (1,))


def test_kernels_run_on_the_gpu_of_their_first_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    current = [0]

    @contextmanager
    def use(device: torch.device) -> Iterator[None]:
        before, current[0] = current[0], device.index
        yield
        current[0] = before

    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "device", use)
    ran_on = []

    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            return lambda *_, **__: ran_on.append(current[0])

    for index in (0, 1, 0):
        launch(Kernel(), (1,), CudaTensor(index))
    launch(Kernel(), (1,), torch.zeros(1))
    assert ran_on == [0, 1, 0, 0]


class CudaTensor:
    """A tensor that claims to be on a GPU."""

    __class__ = torch.Tensor  # type: ignore[assignment]
    is_cuda = True

    def __init__(self, index: int) -> None:
        self.device = torch.device("cuda", index)


def test_out_of_memory_stays_out_of_memory() -> None:
    """A smaller batch helps then, as `batch_tokens: auto` has to know."""
    with pytest.raises(torch.OutOfMemoryError):
        launch(BrokenKernel(torch.OutOfMemoryError("CUDA out of memory.")), (1,))


def test_after_a_failed_launch_torch_replaces_all_kernels(
    monkeypatch: pytest.MonkeyPatch, log_text: pytest.LogCaptureFixture
) -> None:
    _set_trial(monkeypatch, None)
    launches = []

    def by_kernels() -> str:
        launches.append(1)
        launch(BrokenKernel(RuntimeError("Triton Error [CUDA]: invalid argument")), (1,))
        return "kernels"

    assert compiles_kernels(GPU)
    for _ in range(3):
        assert run_or_fall_back(by_kernels, lambda: "torch") == "torch"
    assert len(launches) == 1
    assert not compiles_kernels(GPU)
    (record,) = log_text.records
    assert "invalid argument" in record.getMessage()


def test_other_errors_are_not_hidden() -> None:
    def wrong() -> None:
        raise AssertionError("shapes")

    with pytest.raises(AssertionError, match="shapes"):
        run_or_fall_back(wrong, lambda: None)


def test_failed_launch_during_a_capture_fails_the_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels may work outside of it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)

    def fail() -> None:
        raise KernelError("operation not permitted when stream is capturing")

    with pytest.raises(KernelError):
        run_or_fall_back(fail, lambda: None)
    assert kernels._failures == []
