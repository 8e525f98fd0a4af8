"""Process-wide settings belong to the commands: using `nmt` from Python changes none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.cli.process import configure_process, limit_shape_caches
from nmt.errors import UserError
from tests.commands import nmt_translate

PROGRAM = """
import ctypes, hashlib, json, os, random, resource, signal, sys, threading
import numpy as np
import torch

def keeps_freed_memory():
    # glibc maps a block of this size by default, and unmaps it when it is freed.
    def size():
        return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    before = size()
    block = torch.empty(1 << 29, dtype=torch.uint8)
    del block
    return size() - before > 1 << 28

def settings():
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 256, 256, generator=generator)
    return {
        "product": hashlib.sha256((left @ right).numpy().tobytes()).hexdigest(),
        "denormal": float(torch.tensor([1e-40]) * 1.0),
        "denormal of numpy": float(np.float32(1e-40) * np.float32(1.0)),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "precision": str(getattr(torch.backends.cuda.matmul, "fp32_precision", "")),
        "onednn": str(getattr(torch.backends.mkldnn.matmul, "fp32_precision", "")),
        "tf32": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": torch.backends.cudnn.benchmark,
        "dtype": str(torch.get_default_dtype()),
        "gradients": torch.is_grad_enabled(),
        "random": [
            hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
            hashlib.sha256(np.random.get_state()[1].tobytes()).hexdigest(),
            hashlib.sha256(repr(random.getstate()).encode()).hexdigest(),
        ],
        "memory": keeps_freed_memory(),
        "environment": dict(os.environ),
        "signals": str([signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]),
        "directory": os.getcwd(),
        "threads of Python": threading.active_count(),
    }

before = settings()
from nmt import Translator
translator = Translator.load(sys.argv[1])
texts = [one.text for one in translator.translate(json.loads(sys.argv[2]))]
after = settings()
tuning = [name for name in sys.modules if name in ("nmt.cpu_tuning", "nmt.cli")]
print(json.dumps([before, after, texts, tuning]))
"""


def _run(program: str, *arguments: object, **environment: str) -> Any:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    root = str(Path(__file__).parents[1])
    variables = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"} | environment
    return json.loads(subprocess.check_output(command, env=variables))


def test_loading_and_translating_changes_no_setting_of_the_process(
    trained: Path, sources: list[str]
) -> None:
    before, after, texts, tuning = _run(PROGRAM, trained, json.dumps(sources[:5]))
    assert after == before
    assert tuning == []
    # The translations of the command, whose process is tuned, are the same.
    assert nmt_translate("-m", trained, given="\n".join(sources[:5]) + "\n").lines == texts


def test_the_settings_of_a_command_are_visible_to_this_test() -> None:
    tuned = PROGRAM[: PROGRAM.index("before = settings()")] + (
        "before = settings()\n"
        "from nmt.cli.process import configure_process\n"
        "configure_process('cpu', threads=2, deterministic=True)\n"
        "print(json.dumps([before, settings()]))"
    )
    before, after = _run(tuned)
    changed = {name for name in before if before[name] != after[name]}
    assert changed >= {"denormal", "threads", "deterministic", "environment"}


def test_threads_are_set_only_if_given() -> None:
    threads = torch.get_num_threads()
    try:
        configure_process("cpu", threads=2)
        assert torch.get_num_threads() == 2
        configure_process("cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("given", [None, ":16:8"])
def test_determinism_sets_a_cublas_workspace_that_torch_accepts(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {} if given is None else {"CUBLAS_WORKSPACE_CONFIG": given}
    monkeypatch.setattr(os, "environ", environment)
    configure_process("cpu")
    assert environment.get("CUBLAS_WORKSPACE_CONFIG") == given
    try:
        configure_process("cpu", deterministic=True)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_flush_denormal(False)
    assert environment["CUBLAS_WORKSPACE_CONFIG"] == (given or ":4096:8")


def test_an_unavailable_device_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU"):
        configure_process("cuda")


def test_shape_caches_are_bounded_unless_the_user_sets_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    limit_shape_caches()
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "128"
