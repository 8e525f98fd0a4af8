"""The checks of a GPU, run on a CPU with small models."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpu_checks import correctness, facts, profiles, speed, systems, updates
from gpu_checks.context import Context, SystemConfig, read_system
from gpu_checks.results import Case, Result, compare, write_results
from nmt.config.loader import load_experiment
from nmt.data.images import ImageSize
from nmt.data.loader import UpdateBatch
from tests.cuda_graphs import simulate_search

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_system_without_pydantic_equals_the_validated_one(config: Path) -> None:
    experiment, system = load_experiment(config).experiment, read_system(config.stem)
    for field in fields(SystemConfig):
        if field.name != "image_size":
            assert getattr(system, field.name) == getattr(experiment.model, field.name)
    assert system.image_size == ImageSize.from_config(experiment.data.pictures)


ROOT = Path(__file__).parents[2]
CPU = Context("cpu", time.monotonic() + 3600)


def run(cases: list[Case]) -> list[dict[str, Any]]:
    output = StringIO()
    write_results(cases, output)
    return [json.loads(line) for line in output.getvalue().splitlines()]


def failures(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['case']}: {row['note']}" for row in rows if row["verdict"] == "FAILED"]


@pytest.mark.parametrize("name", ["dates", "dates_gnmt"])
def test_zero_gradient_of_any_parameter_fails(name: str) -> None:
    exact = systems.System(read_system(name)).exact()
    assert systems.distance(exact, exact)[0] == 0.0
    for parameter in exact:
        found = exact | {parameter: torch.zeros_like(exact[parameter])}
        error, worst = systems.distance(found, exact)
        assert worst == parameter
        for limit in (*correctness.EXACT_LIMITS.values(), *correctness.EAGER_LIMITS.values()):
            assert compare(name, error, limit).verdict == "FAILED"


def test_nan_and_missing_gradients_fail() -> None:
    exact = {"loss": torch.ones(()), "weight": torch.ones(2)}
    error, worst = systems.distance(exact | {"loss": torch.tensor(float("nan"))}, exact)
    assert worst == "loss"
    row, _ = run([Case("nan", lambda: [compare("nan", error, 1.0)])])
    assert (row["verdict"], row["value"], row["note"]) == ("FAILED", None, "value nan")
    with pytest.raises(ValueError, match="gradients on one side only: weight"):
        systems.distance({"loss": torch.ones(())}, exact)


def test_backend_that_did_not_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    one = systems.System(read_system("dates"))
    expected = correctness.OPS["cpu"]
    monkeypatch.setitem(correctness.OPS, "cpu", "TritonCellOps")
    case = Case("fused", lambda: correctness._gradients(CPU, one, one.exact(), {}, "fused", "fp32"))
    assert failures(run([case])) == [
        f"fused fp32 ran: expected TritonCellOps, {expected} ran",
    ]


def test_waits_are_synchronizations_and_pageable_copies() -> None:
    calls = Counter(cudaStreamSynchronize=2, cudaMemcpyAsync=9, cudaMemcpy=1, cudaLaunchKernel=5)
    kernels = {
        "Memcpy HtoD (Pageable -> Device)": (1.0, 3),
        "Memcpy HtoD (Pinned -> Device)": (1.0, 1),
    }
    found = profiles.Profile(kernels, calls)
    assert sum(found.waits().values()) == 2 + 1 + 3
    assert (found.launches, found.microseconds) == (5, 2.0)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "measured"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "measured"),
        (RuntimeError("CUDA error: an illegal memory access"), "FAILED"),
        (AssertionError("wrong"), "FAILED"),
    ],
)
def test_best_batch_size_remains_after_a_failure(
    error: Exception, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(context: Context, case: str, *_: object) -> Iterator[Result]:
        if case != "4 sentences":
            raise error
        yield Result(case, "measured", 9.0, unit="target tokens/s")

    monkeypatch.setattr(speed, "_speed", fail)
    rows = [(row["case"], row["verdict"], row["value"]) for row in run(speed.gnmt(CPU))]
    assert rows[0] == ("4 sentences", "measured", 9.0)
    assert rows[1][:2] == ("8 sentences", verdict)
    assert rows[2] == ("best batch size", "measured", 9.0)


@pytest.mark.parametrize(
    ("change", "launches", "failed"),
    [(1.0, 5, []), (1.0, 0, ["graph bf16 ran"]), (2.0, 5, ["graph bf16, 6 updates"])],
)
def test_graph_that_is_wrong_or_did_not_run_fails(
    change: float, launches: int, failed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = systems.System(read_system("dates"))

    def updated(*_: object, uses_graphs: bool, **__: object) -> tuple[systems.Tensors, Any]:
        moved = change if uses_graphs else 1.0
        tree = {name: value + moved for name, value in updates.weights(one.model).items()}
        return tree, SimpleNamespace(graphs=SimpleNamespace(captures=1, launches=launches))

    monkeypatch.setattr(correctness, "updated", updated)
    rows = run([Case("graph", lambda: correctness._graph(CPU, one, "bf16"))])
    assert [row["case"] for row in rows if row["verdict"] == "FAILED"] == failed


@pytest.mark.parametrize(("launches", "verdict"), [(2, "passed"), (0, "FAILED")])
def test_system_whose_update_is_not_captured_fails(
    launches: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def updated(*_: object, uses_graphs: bool, **__: object) -> tuple[systems.Tensors, Any]:
        assert uses_graphs
        return {}, SimpleNamespace(graphs=SimpleNamespace(captures=1, launches=launches))

    monkeypatch.setattr(correctness, "updated", updated)
    context = Context("cuda", CPU.deadline, "dates_transformer")
    (case,) = (case for case in correctness.brief(context) if case.name == "graph")
    assert [row["verdict"] for row in run([case])] == [verdict, "end"]


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the code for GPUs on the CPU: its values are meaningless, and its names exist."""
    monkeypatch.setattr(Context, "is_gpu", True)
    monkeypatch.setattr(UpdateBatch, "for_gpu", lambda batch: batch)
    for name in ("synchronize", "reset_peak_memory_stats", "empty_cache", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    for name in ("max_memory_allocated", "memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, lambda: 0)
    found = profiles.Profile({"lstm": (2.0, 1)}, Counter(cudaLaunchKernel=7))
    for module in (facts, speed):
        monkeypatch.setattr(module, "profile", lambda work: [work(), found][1])
    monkeypatch.setattr(correctness, "count_waits", lambda work: [work(), (0, "")][1])
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: facts.MIN_CUDNN)
    monkeypatch.setattr(speed, "UPDATES", 1)
    monkeypatch.setattr(speed, "REPETITIONS", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("pretended_gpu")
def test_measures_of_a_gpu_are_complete() -> None:
    rows = run([*speed.bahdanau(CPU)[:1], *speed.gnmt(CPU), *speed.search(CPU)[3:]])
    rows += run(facts.encoder(CPU)[1:2])  # after the case of Triton
    assert failures(rows) == []
    units = {row["unit"] for row in rows if row["verdict"] == "measured"}
    assert units == {
        *("target tokens/s", "GB", "per update", "ms per update", "µs per update"),
        *("per step", "µs per step", "µs of kernels"),
    }


def test_search_by_graphs_is_compared_with_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = simulate_search(monkeypatch)

    def rows() -> list[dict[str, Any]]:
        return run([Case("graph", lambda: speed._search(CPU, "fp32", uses_graphs=True))])

    found = rows()
    assert failures(found) == []
    assert [row["case"] for row in found if row["verdict"] == "passed"] == [
        f"graph fp32: beam 5, 4 sentences: {name}"
        for name in ("all translations have full length", "ran", "other translations")
    ]
    cuda.failure = RuntimeError("CUDA error: operation not permitted when stream is capturing")
    (failed,) = failures(rows())
    assert "4 sentences: ran: 0 captures" in failed


@pytest.mark.slow
@pytest.mark.usefixtures("pretended_gpu")
def test_waits_are_counted_and_momentum_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    make_trainer = updates.make_trainer
    context = Context("cpu", CPU.deadline, "dates_plain")
    one = systems.System(read_system(context.config))
    waits = [
        Case("update", lambda: correctness._update_waits(context)),
        Case("search", lambda: correctness._search_waits(context, one)),
    ]
    names = [row["case"] for row in run(waits)]
    assert names == [
        "update does not wait",
        "waits of 5 updates in a profile",
        "search does not wait",
        "",
    ]
    trained, _ = updates.updated(CPU, one, "fp32", uses_graphs=False, updates=2)
    assert trained.keys() == updates.weights(one.model).keys()
    monkeypatch.setattr(updates, "make_trainer", lambda *a: make_trainer(a[0], "fp32", *a[2:]))
    rows = run([Case("momentum", lambda: updates._momentum(CPU))])
    assert failures(rows) == []
    assert 0.0 < rows[0]["value"] < rows[0]["limit"]


@pytest.mark.slow
def test_checks_run_without_pydantic(tmp_path: Path) -> None:
    blocked = ["pydantic", "pydantic_core", "annotated_types", "typing_inspection", "sentencepiece"]
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {blocked!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}')\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    command = [sys.executable, str(ROOT / "scripts" / "gpu_check.py"), "--device", "cpu"]
    command += ["--output", "gpu", "--only", "system:dates", "search"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr + (tmp_path / "gpu.log").read_text()
    rows = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert {row["check"].partition(":")[0] for row in rows} == {"device", "system", "search"}
