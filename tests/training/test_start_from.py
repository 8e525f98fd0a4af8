"""Fine-tuning: vocabularies, parts of the model that are loaded, and parts that are frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from nmt.data.vocabularies.extension import token_parts
from nmt.data.vocabularies.saved import load_vocabularies
from nmt.storage.run_dir import RunDir
from tests.commands import Called, nmt_train, state_of, write_experiment
from tests.training.conftest import quick

# Letters that the vocabulary of the phrases lacks.
PAIRS = [(f"Order {n} é: Quiz Xylo;", f"Auftrag {n} é: Quiz Xylo;") for n in range(10, 60)]


@pytest.fixture
def tree(experiment: dict[str, Any], trained: Path, tmp_path: Path) -> dict[str, Any]:
    """An experiment on other text that starts from the run of the phrases."""
    for side, lines in zip(("de", "en"), zip(*PAIRS, strict=True), strict=True):
        (tmp_path / f"new.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = quick(experiment, steps=1, start_from={"run": str(trained)})
    tree["training"]["optimizer"] = {"type": "sgd", "learning_rate": 1e-30}
    tree["data"] |= {"train": "new", "valid": "new"}
    del tree["data"]["vocabulary"]
    return tree


def _train(tree: dict[str, Any], tmp_path: Path, *options: str) -> Called:
    file = write_experiment(tmp_path / "a.yaml", tree)
    return nmt_train(file, "--run", tmp_path / "run", *options)


def _weights(run: Path, name: str = "best") -> dict[str, Tensor]:
    return load_file(run / "checkpoints" / name / "model.safetensors")


def test_unknown_text_is_refused_with_both_remedies(tree: dict[str, Any], tmp_path: Path) -> None:
    complaint = _train(tree, tmp_path).complaint
    assert "% of the" in complaint
    assert "vocabulary: extend}" in complaint
    assert "or replace" in complaint


@pytest.mark.parametrize("mode", ["extend", "replace"])
def test_new_tokens_begin_as_the_mean_of_their_parts(
    mode: str, tree: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    tree["training"]["start_from"]["vocabulary"] = mode
    tree["data"]["vocabulary"] = {"size": 36, "user_defined_symbols": ["Xylo"]}
    called = _train(tree, tmp_path)
    assert called.code == 0, called.err
    assert "0.00 % of the tokens are unknown" in called.err
    (_, old), (_, new) = (load_vocabularies(RunDir(run)) for run in (trained, tmp_path / "run"))
    assert new.has_symbol("Xylo")
    before, after = _weights(trained), _weights(tmp_path / "run")
    assert before.keys() == after.keys()
    tables = {"source_embedding.table", "target_embedding.table", "output_layer"}
    for name, weight in after.items():
        if name.rpartition(".")[0] not in tables:
            assert weight.equal(before[name])
            continue
        for number, own in enumerate(token_parts(old, new)):
            rows = before[name].double()[own] if own else before[name].double()
            torch.testing.assert_close(weight[number].double(), rows.mean(0), rtol=1e-6, atol=1e-7)
    assert ("is extended by" in called.err) == (mode == "extend")
    assert (len(new) > len(old)) == (mode == "extend")


def test_parts_that_are_not_loaded_are_initialized(
    tree: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    tree["training"]["start_from"] |= {
        "vocabulary": "replace",
        "layers": ["encoder", "source_embedding"],
    }
    tree["data"]["vocabulary"] = {"size": 36}
    tree["model"]["decoder"] = {"type": "luong", "hidden_size": 16}
    called = _train(tree, tmp_path)
    assert called.code == 0, called.err
    before, after = _weights(trained), _weights(tmp_path / "run")
    for name, weight in after.items():
        if name.startswith("encoder."):
            assert weight.equal(before[name])
    del tree["training"]["start_from"]["layers"]
    assert "holds weights of another model" in _train(tree, tmp_path, "--restart").complaint


def test_frozen_parts_do_not_change_and_the_run_continues_exactly(
    tree: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    tree["training"]["optimizer"] = {"type": "adam", "learning_rate": 0.01}
    tree["training"]["start_from"] |= {
        "vocabulary": "extend",
        "checkpoint": "last",
        "freeze": ["encoder", "source_embedding", "decoder.attention"],
    }
    file = write_experiment(tmp_path / "a.yaml", tree)
    checked = nmt_train(file, "--check")
    assert checked.code == 0, checked.err
    for run, steps in (("whole", 3), ("run", 1), ("run", 3)):
        called = nmt_train(file, "--run", tmp_path / run, f"training.steps={steps}")
        assert called.code == 0, called.err
    before, after = _weights(trained, "last"), _weights(tmp_path / "run", "last")
    for name, weight in after.items():
        if name.startswith(("encoder.", "decoder.attention.")):
            assert weight.equal(before[name])
        elif name.startswith("decoder."):
            assert not weight.equal(before[name]), name
    one, other = (tmp_path / run / "checkpoints" / "last" for run in ("whole", "run"))
    for file_name in ("model.safetensors", "training.safetensors"):
        assert (one / file_name).read_bytes() == (other / file_name).read_bytes()
    assert state_of(one) == state_of(other)
    refused = nmt_train(
        file, "--run", tmp_path / "run", "training.steps=4", "training.start_from.freeze=[encoder]"
    )
    assert "training.start_from.freeze" in refused.complaint


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("freeze", ["attention"], "start_from.freeze: the model has no part 'attention'; known: "),
        ("layers", ["encoder.x"], "start_from.layers: the model has no part 'encoder.x'"),
        (
            "freeze",
            ["encoder", "decoder", "source_embedding", "target_embedding", "output_layer"],
            "leaves no parameter to train",
        ),
        ("checkpoint", 123456, "has no checkpoint 123456"),
        ("layers", [], "start_from.layers: expected a list of at least 1, got []"),
    ],
)
def test_mistakes_are_one_line_with_the_option(
    option: str, value: object, words: str, tree: dict[str, Any], tmp_path: Path
) -> None:
    tree["training"]["start_from"] |= {option: value, "vocabulary": "extend"}
    for more in ([], ["--check"]):
        assert words in _train(tree, tmp_path, *more).complaint
