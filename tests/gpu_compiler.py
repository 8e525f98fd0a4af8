"""Triton kernels compiled for a GPU that this machine does not have.

The kernels are launched by their own code on CPU tensors, and each launch is recorded instead of
executed. Triton then derives from the arguments what it would compile, and its own assembler makes
machine code of it.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

OBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


class Variant(NamedTuple):
    """A kernel with the types and properties of the arguments that it is compiled for."""

    kernel: Any
    specialization: list[Any]
    arguments: dict[str, Any]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the kernel's function."""
        name: str = self.kernel.__name__
        return name

    @property
    def key(self) -> str:
        """Everything by which Triton distinguishes compiled kernels."""
        return f"{self.name} {self.specialization} {self.options}"


def _backend(capability: int) -> Any:
    return make_backend(GPUTarget("cuda", capability, 32))


@contextmanager
def recorded_variants() -> Iterator[dict[str, Variant]]:
    """Record the variant of each kernel that is launched inside the block, by its key."""
    variants: dict[str, Variant] = {}

    def record(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
        # Specialization depends on the kind of the GPU, not on its compute capability.
        bind = create_function_from_signature(kernel.signature, kernel.params, _backend(90))
        bound, specialization, options = bind(*arguments, **options)
        variant = Variant(kernel, specialization, bound, options)
        variants[variant.key] = variant

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JITFunction, "run", record)
        yield variants


def spilled_bytes(variant: Variant, capability: int, folder: Path) -> int:
    """Compile a kernel for a compute capability, such as 90 of Hopper; return its spills.

    Args:
        variant: the kernel
        capability: ten times the number that NVIDIA names
        folder: for the machine code
    """
    backend = _backend(capability)
    kernel = variant.kernel
    options, signature, constants, attributes = kernel._pack_args(
        backend, variant.options, variant.arguments, variant.specialization, variant.options
    )
    compiled = triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options=options.__dict__,
    )
    file = folder / "kernel.cubin"
    file.write_bytes(compiled.asm["cubin"])
    usage = subprocess.run(
        [OBJDUMP, "-res-usage", file], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"STACK:(\d+) .*LOCAL:(\d+)", usage)
    assert found is not None, usage
    return sum(map(int, found.groups()))
