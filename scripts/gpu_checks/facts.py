"""Facts about the machine, and the encoder's LSTMs in cuDNN."""

import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from shutil import which

import torch
from torch import Tensor

from gpu_checks.context import Context, revision, system_config
from gpu_checks.profiles import profile
from gpu_checks.results import Case, Result, measured, require
from nmt.device import HALF_PRECISION, autocast
from nmt.kernels import compiles_kernels
from nmt.model.build import build_model

VOCABULARY, LENGTH = 16_000, 30
SIZES = {"cuda": (512, 128), "cpu": (8, 2)}
"""Units per direction, and sentences."""
MIN_CUDNN = 91300
"""cuDNN from which on torch runs LSTMs in bf16 by cuDNN."""
CUDNN_KERNEL = re.compile("rnn|lstm|elemwise", re.IGNORECASE)


def device(context: Context) -> list[Case]:
    """Return the case of the device itself."""
    return [Case("device", partial(_device, context))]


def _device(context: Context) -> Iterator[Result]:
    if context.is_gpu and not torch.cuda.is_available():
        yield require("device", False, f"torch {torch.__version__} finds no GPU")
        return
    packages = ", ".join(f"{name} {_version(name)}" for name in ("triton", "numpy"))
    software = f"nmt {revision()}, torch {torch.__version__}, {packages}"
    yield require("versions", True, f"{software}, Python {python_version()}, {platform()}")
    one = torch.ones(64, 64, device=context.device)
    yield require("product", bool((one @ one == 64).all()), "64 x 64")
    if context.is_gpu:
        yield from _gpu()


def _gpu() -> Iterator[Result]:
    gpu = torch.cuda.get_device_properties(0)
    name = f"{gpu.name}, sm_{gpu.major}{gpu.minor}, {gpu.multi_processor_count} multiprocessors"
    yield require("GPU", True, f"{name}, {gpu.total_memory / 2**30:.0f} GiB")
    cuda, architectures = torch.version.cuda, torch.cuda.get_arch_list()
    yield require("CUDA", True, f"CUDA {cuda}, cuDNN {_cudnn()}, {architectures}")


def _triton() -> Iterator[Result]:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    compilers = [path for name in ("cc", "gcc", "clang") if (path := which(name))]
    found = "exists" if header.is_file() else "is missing (package python3-dev)"
    compiles = compiles_kernels(torch.device("cuda"))
    yield require("Triton compiles", compiles, f"{header} {found}; compilers: {compilers}")


def _cudnn() -> int:
    """Return the version of cuDNN; 0 without it."""
    return torch.backends.cudnn.version() or 0  # type: ignore[no-untyped-call]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def encoder(context: Context) -> list[Case]:
    """Return the cases of Triton's compiler, and of an encoder with LSTMs in half precision."""
    names = list(HALF_PRECISION) if context.is_gpu else ["bf16"]
    cases = [Case(name, partial(_encoder, context, name)) for name in names]
    return [Case("Triton", _triton), *cases] if context.is_gpu else cases


def _encoder(context: Context, precision: str) -> Iterator[Result]:
    """Check warnings, the type of the output, and that cuDNN computes it."""
    units, sentences = SIZES[context.device_name]
    config = system_config(
        {"encoder": {"hidden_size": units, "layers": 2}, "embedding_size": units}
    )
    model = build_model(config, VOCABULARY, 8).to(context.device)
    source_bs = torch.randint(4, VOCABULARY, (sentences, LENGTH), device=context.device)
    mask_bs = torch.ones_like(source_bs, dtype=torch.bool)

    def encode() -> Tensor:
        with autocast(precision, context.device):
            return model.encode(source_bs, mask_bs).states_bse

    def update() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        encode().float().sum().backward()  # type: ignore[no-untyped-call]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        states_bse = encode()
        update()
    texts = [str(warning.message).splitlines()[0] for warning in caught]
    yield require(f"{precision}: no warning", not texts, "; ".join(texts))
    expected = states_bse.dtype == HALF_PRECISION[precision]
    yield require(f"{precision}: type of the output", expected, str(states_bse.dtype))
    if not context.is_gpu:
        return
    for name, work in (("forward", encode), ("forward and backward", update)):
        found = profile(work)
        text = ", ".join(
            f"{n} x {k[:60]} {us:.0f}" for k, (us, n) in list(found.kernels.items())[:6]
        )
        yield measured(f"{precision}: encoder {name}", found.microseconds, "µs of kernels", text)
        own = [k for k in found.kernels if CUDNN_KERNEL.search(k) and "at::native" not in k]
        cudnn = _cudnn()
        note = f"cuDNN {cudnn}, {own[:2]}"
        yield require(f"{precision}: cuDNN ran, {name}", bool(own) and cudnn >= MIN_CUDNN, note)
