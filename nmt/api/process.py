"""Settings of the process for the duration of a training in a Python program."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from nmt import cpu_tuning
from nmt.config.schema import TrainingConfig
from nmt.errors import UserError

log = logging.getLogger("nmt")

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"

_in_use = threading.Lock()


@contextmanager
def settings_of_training(training: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Set up the process as nmt-train does, and restore its settings at the end of the block.

    These are the number of threads, deterministic kernels, the matrix products and the denormal
    numbers of a CPU, torch's random generators, and the handlers of the logger `nmt`. The allocator
    stays as it is, since its settings could not be restored; they change no result.

    Raises:
        UserError: another training of this process has not ended; both would share the settings and
            torch's random generators, which changes their results
    """
    with ExitStack() as stack:
        if not _in_use.acquire(blocking=False):
            raise UserError(
                "another training of this process has not ended; wait for it, or train in another "
                "process"
            )
        stack.callback(_in_use.release)
        stack.enter_context(_logger())
        devices = [torch.cuda.current_device()] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=devices))
        if training.threads is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(training.threads)
        if training.deterministic:
            stack.enter_context(_deterministic())
        if device.type == "cpu":
            stack.enter_context(_tuned_cpu())
        yield


@contextmanager
def _logger() -> Iterator[None]:
    handlers, level, propagates = log.handlers[:], log.level, log.propagate
    log.handlers = []
    try:
        yield
    finally:
        for handler in log.handlers:
            handler.close()
        log.handlers, log.propagate = handlers, propagates
        log.setLevel(level)


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    workspace, benchmark = os.environ.get(CUBLAS), torch.backends.cudnn.benchmark
    os.environ.setdefault(CUBLAS, ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            del os.environ[CUBLAS]


@contextmanager
def _tuned_cpu() -> Iterator[None]:
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    precision = getattr(matmul, "fp32_precision", None)
    flushed = not (torch.tensor([1e-40]) * 1.0).item()
    cpu_tuning.use_onednn_for_products()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        if matmul is not None:
            matmul.fp32_precision = precision
