"""The program that checks a GPU, run on a CPU."""

import json
from pathlib import Path
from typing import Any

import gpu_check
import pytest
import torch

from measures import correctness

CONFIGS = Path(__file__).parents[2] / "configs"
SYSTEMS = ["date_format", "date_format_luong", "date_format_transformer", "shapes_hard"]


def test_every_check_is_run_and_written(tmp_path: Path) -> None:
    output = tmp_path / "gpu"
    configs = [str(CONFIGS / f"{name}.yaml") for name in SYSTEMS]
    arguments = ["--device", "cpu", "--work", str(tmp_path), "-o", str(output)]
    assert gpu_check.main([*arguments, "--configs", *configs]) == 0
    results = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    assert failed_checks(results) == []
    made = [(row["measure"], row["contender"], row["values"][0]) for row in results["rows"]]
    for name in SYSTEMS:
        errors = {how: error for what, how, error in made if what == f"check: gradients, {name}"}
        assert list(errors) == ["eager fp32", "auto fp32", "eager bf16"]
        assert 0 < errors["eager fp32"] < 1e-4 < errors["eager bf16"]
        assert (f"check: search, {name}", "fp32", 0.0) in made
    nonfinite = "check: non-finite update changes no parameter"
    assert [(nonfinite, how, 0.0) in made for how in ("adam", "adamw", "sgd")] == [True] * 3
    assert "passed: at most" in output.with_suffix(".md").read_text(encoding="utf-8")


def test_failed_check_sets_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(correctness.LIMITS, "fp32", 1e-12)
    config = str(CONFIGS / "date_format.yaml")
    arguments = ["--device", "cpu", "--work", str(tmp_path), "-o", str(tmp_path / "gpu")]
    assert gpu_check.main([*arguments, "--configs", config]) == 1
    results = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    failed = [("check: gradients, date_format", f"{backend} fp32") for backend in ("eager", "auto")]
    assert failed_checks(results) == failed


def failed_checks(results: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [row for row in results["rows"] if row["note"].startswith("FAILED")]
    return [(row["measure"], row["contender"]) for row in rows]


def test_nan_does_not_pass() -> None:
    assert not correctness.Check("loss", "fp32", float("nan"), 1.0).passed


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is available")
def test_missing_gpu_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert gpu_check.main(["--work", str(tmp_path)]) == 2
    assert "torch finds no GPU" in capsys.readouterr().err
