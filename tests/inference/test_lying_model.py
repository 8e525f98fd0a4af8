"""Models that contradict their weights are refused before they take memory."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from nmt.errors import UserError
from nmt.inference import saved_model
from nmt.inference.saved_model import load_saved_model
from nmt.storage.checkpoint import WEIGHTS
from tests.commands import nmt_train, nmt_translate, write_experiment
from tests.training.conftest import quick


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a trained run without records of its config, for a test to change."""
    # Of a stranger's run, all records and checksums may agree with the lie.
    monkeypatch.setattr(saved_model, "check_for_translation", lambda *given: None)
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def change_weights(run: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights of the best checkpoint, and their checksum."""
    file = run / "checkpoints" / "best" / WEIGHTS
    weights = load_file(file)
    change(weights)
    old = hashlib.sha256(file.read_bytes()).hexdigest()
    save_file(weights, file)
    sums = file.with_name("SHA256SUMS")
    new = hashlib.sha256(file.read_bytes()).hexdigest()
    sums.write_text(sums.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def change_model(run: Path, **options: object) -> None:
    file = run / "config.yaml"
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    tree["model"] |= options
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")


def test_a_large_model_is_refused_before_it_is_built(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*given: object) -> object:
        raise AssertionError("memory is taken before the shapes are compared")

    monkeypatch.setattr(saved_model, "build_model", build)
    change_model(run, embedding_size=65536)
    with pytest.raises(UserError, match="holds weights of another model"):
        load_saved_model(run)
    change_model(run, embedding_size=10**9)
    with pytest.raises(UserError, match=r"model\.embedding_size: must be at most 65,536"):
        load_saved_model(run)


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.bool, torch.uint8, torch.float64])
def test_weights_of_another_type_are_refused(run: Path, kind: torch.dtype) -> None:
    change_weights(run, lambda w: w.update({"output_layer.bias": w["output_layer.bias"].to(kind)}))
    with pytest.raises(UserError, match=r"output_layer\.bias has the type .*; weights must"):
        load_saved_model(run)


def test_weights_of_half_precision_are_accepted(run: Path) -> None:
    change_weights(run, lambda w: w.update({name: t.half() for name, t in w.items()}))
    model = load_saved_model(run).model
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(run: Path, value: float) -> None:
    change_weights(run, lambda w: w["output_layer.bias"][-1].fill_(value))
    with pytest.raises(UserError, match=r"output_layer\.bias contains NaN or infinity"):
        load_saved_model(run)


def test_an_additional_tensor_is_refused(run: Path) -> None:
    change_weights(run, lambda w: w.update({"more": torch.zeros(1, dtype=torch.int64)}))
    with pytest.raises(UserError, match=r"holds weights of another model \(more does not fit\)"):
        load_saved_model(run)


def test_exchanged_vocabularies_are_refused(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment["data"]["vocabulary"] = {"size": 500, "type": "char", "joint": False}
    quick(experiment, steps=1)
    file, run = write_experiment(tmp_path / "a.yaml", experiment), tmp_path / "run"
    assert nmt_train(file, "--run", run).code == 0
    source, target = (run / "vocabulary" / f"{side}.model" for side in ("source", "target"))
    content = source.read_bytes()
    source.write_bytes(target.read_bytes())
    target.write_bytes(content)
    for complaint in (
        nmt_train(file, "--run", run, "training.steps=2").complaint,
        nmt_translate("-m", run, given="Ein Mann\n").complaint,
    ):
        assert "source.model: has changed since" in complaint
    # Without a record of the vocabularies, their sizes show the exchange.
    monkeypatch.setattr(saved_model, "check_for_translation", lambda *given: None)
    complaint = nmt_translate("-m", run, given="Ein Mann\n").complaint
    assert "source.model and target.model are swapped; exchange their names" in complaint
