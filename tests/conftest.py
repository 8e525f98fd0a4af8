"""A tiny model, trained once for all tests by the real command."""

import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

import tests.type_checks  # noqa: F401  # isort: split
from nmt.registry import FAMILIES
from nmt.search.translator import Translator
from tests.commands import PHRASES, nmt_train, write_experiment

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the campaigns, in the file that pytest reads before it parses options."""
    parser.addoption(
        "--campaign",
        metavar="ROUND",
        default="short",
        help="cases in tests/campaigns: short, full, or a maximum per test (default: short)",
    )


# Small tensors gain nothing by threads, and workers of pytest-xdist would fight for the cores.
torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests without collections of garbage, and exempt what remains from later ones.

    Collections during the imports take a quarter of their time and find nothing.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def tiny_experiment() -> dict[str, Any]:
    """Return an experiment that learns some of sixty phrases in a few seconds."""
    return {
        "data": {
            "train": str(PHRASES),
            "valid": str(PHRASES),
            "source": "de",
            "target": "en",
            "vocabulary": {"size": 180},
        },
        "model": {
            "embedding_size": 24,
            "encoder": {"type": "bilstm", "hidden_size": 24},
            "decoder": {"type": "bahdanau", "hidden_size": 32},
        },
        "training": {
            "optimizer": {"type": "adam", "learning_rate": 0.01},
            "batch_sentences": 10,
            "epochs": 25,
            "label_smoothing": 0.0,
            "threads": 1,
            "log_every": 20,
            "validate_every": 50,
            "keep": 2,
        },
        "search": {"beam_size": 4},
        "evaluation": {"samples": 3, "pictures": 1},
    }


@pytest.fixture(scope="session", autouse=True)
def few_bootstrap_samples() -> Iterator[None]:
    """Confidence intervals at the end of training that take no time; no test needs good ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmt.training.final_report.SAMPLES", 20)
        yield


@pytest.fixture
def experiment() -> dict[str, Any]:
    """The tiny experiment, for a test to change and write."""
    return tiny_experiment()


def start_command(
    command: str,
    *arguments: object,
    cwd: Path,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[str]:
    """Start a command as a process that Ctrl-C interrupts.

    A shell lets its background processes ignore SIGINT, which their children inherit.
    """
    return _start(["-m", f"nmt.cli.{command}", *map(str, arguments)], cwd, environment, **options)


def start_ranks(
    module: str,
    *arguments: object,
    cwd: Path,
    processes: int = 2,
    restarts: int = 0,
    forked: bool = True,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[str]:
    """Run a module as several processes by torchrun, or by forks after common imports."""
    if forked:
        job = ["tests.forked_ranks", processes, restarts]
    else:
        job = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        job += [f"--max-restarts={restarts}", "-m"]
    words = ["-m", *job, module, *arguments]
    return _start([*map(str, words)], cwd, environment, **options)


def _start(
    arguments: list[str], cwd: Path, environment: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | own | (environment or {}),
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the tiny experiment, trained once by nmt-train; workers copy it."""
    folder = tmp_path_factory.mktemp("trained")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _train_tiny(folder)
        return folder / "runs" / "tiny"
    shared = tmp_path_factory.getbasetemp().parent / "trained"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            _train_tiny(folder)
            shutil.copytree(folder, shared, symlinks=True)
        else:
            shutil.copytree(shared, folder, symlinks=True, dirs_exist_ok=True)
    return folder / "runs" / "tiny"


def _train_tiny(folder: Path) -> None:
    file = write_experiment(folder / "tiny.yaml", tiny_experiment())
    process = start_command("train", file, cwd=folder)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out == ""


@pytest.fixture(scope="session")
def second(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the same vocabulary and other weights."""
    folder = tmp_path_factory.mktemp("second")
    tree = tiny_experiment()
    tree["training"] |= {"epochs": None, "steps": 12, "start_from": str(trained), "seed": 2}
    del tree["data"]["vocabulary"]
    tree["evaluation"] |= {"pictures": 0}
    called = nmt_train(write_experiment(folder / "second.yaml", tree), "--run", folder / "run")
    assert called.code == 0, called.err
    return folder / "run"


@pytest.fixture(scope="session")
def translator(trained: Path) -> Translator:
    """The tiny model, ready to translate."""
    return Translator.load(trained)


@pytest.fixture(scope="session")
def sources() -> list[str]:
    """The German phrases."""
    return Path(f"{PHRASES}.de").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def log_text(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The records of the logger `nmt`, also after a command has stopped their propagation."""
    logger = logging.getLogger("nmt")
    propagated, handlers = logger.propagate, logger.handlers[:]
    logger.propagate, logger.handlers = True, []
    yield caplog
    logger.propagate, logger.handlers = propagated, handlers


@pytest.fixture
def plugin_dir(tmp_path: Path) -> Iterator[Path]:
    """A directory for plugins; components that a test registers are removed after it."""
    before, modules = {family: set(r) for family, r in FAMILIES.items()}, set(sys.modules)
    yield tmp_path
    for family, registry in FAMILIES.items():
        for name in set(registry) - before[family]:
            registry.unregister(name)
    for name in [n for n in set(sys.modules) - modules if n.startswith("nmt_plugin_")]:
        del sys.modules[name]
