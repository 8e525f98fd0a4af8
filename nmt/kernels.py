"""Triton kernels: whether this process can run them, and the plain path where a launch fails."""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import Tensor

from nmt.errors import is_out_of_memory

Result = TypeVar("Result")

log = logging.getLogger("nmt")

MAX_REASON = 200
"""Maximum length of the reason in a warning: a compiler's error contains its whole command."""

MAX_REGISTERS = 255
"""Registers per thread, all that a GPU has. By default, the assembler spills some in order to run
more programs at the same time."""

_failures: list[Exception] = []  # at most one: no kernel is launched after it


class KernelError(RuntimeError):
    """A kernel that could not be compiled or launched; its output tensors are undefined."""


def compiles_kernels(device: torch.device) -> bool:
    """Return whether Triton can compile and launch kernels for tensors of a device.

    The first call for a GPU launches one. Other devices run kernels in Triton's interpreter only.
    After the first failed launch it is always False.
    """
    runs_on_device = device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    return runs_on_device and not _failures and _passes_trial(device)


def launch(kernel: Any, grid: tuple[int, ...], *arguments: object, **options: object) -> None:
    """Launch a Triton kernel on the device of its first argument.

    Raises:
        KernelError: the kernel could not be compiled or launched
    """
    if torch.version.hip is None:  # Triton for AMD has no such option
        options["maxnreg"] = MAX_REGISTERS
    try:
        with _device_of(*arguments[:1]):
            kernel[grid](*arguments, **options)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise KernelError(_reason(error)) from error


def run_or_fall_back(by_kernels: Callable[[], Result], plain: Callable[[], Result]) -> Result:
    """Return the result of Triton kernels, or of torch's operations if a launch fails.

    After a failure, all kernels of this process are replaced by torch's operations.

    Args:
        by_kernels: computation that may raise `KernelError`
        plain: the same computation without kernels; it overwrites incomplete results
    """
    if not _failures:
        try:
            return by_kernels()
        except KernelError as error:
            if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
                raise  # the capture may be the cause, and has to fail as a whole
            _failures.append(error)
            log.warning(
                "a Triton kernel failed (%s); slower operations of torch replace all kernels from "
                "here on",
                error,
            )
    return plain()


def _device_of(argument: object = None) -> AbstractContextManager[object]:
    """Return the context of a launch: Triton launches on the current GPU, wherever tensors are."""
    if not isinstance(argument, Tensor) or not argument.is_cuda:
        return nullcontext()
    # A change of the device takes the host longer than this comparison.
    is_current = argument.device.index == torch.cuda.current_device()
    return nullcontext() if is_current else torch.cuda.device(argument.device)


@cache
def _passes_trial(device: torch.device) -> bool:
    """Launch the smallest kernel; warn and return False if that fails."""
    if find_spec("triton") is None:
        return False
    try:
        # Only the first launch compiles Triton's own C code, which includes Python.h.
        from nmt.kernel_trial import store_one

        store_one(device)
    except Exception as error:
        log.warning(
            "Triton kernels do not run here (%s); slower operations of torch replace them. Triton "
            "needs a C compiler, which the variable CC names or gcc is, and the header Python.h: "
            "install gcc and python3-dev (python3-devel on Fedora)",
            _reason(error),
        )
        return False
    return True


def _reason(error: Exception) -> str:
    """Return the type of an error and the beginning of its message, on one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."
