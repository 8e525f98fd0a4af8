"""Training on several corpora: tags, weights, temperature, and their exact continuation."""

from pathlib import Path
from typing import Any

import pytest

from nmt.config.loader import load_experiment
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.errors import UserError
from nmt.training.datasets import prepare_datasets
from nmt.training.setup import build_loader
from tests.commands import PHRASES, lines_of, nmt_train, write_experiment
from tests.training.conftest import quick


@pytest.fixture
def tree(experiment: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """An experiment on two corpora: de-en with forty pairs, and en-de with twenty."""
    sides = {side: lines_of(PHRASES.with_suffix(f".{side}")) for side in ("de", "en")}
    for side, lines in sides.items():
        (tmp_path / f"many.{side}").write_text("\n".join(lines[:40]) + "\n", encoding="utf-8")
        (tmp_path / f"few.{side}").write_text("\n".join(lines[40:60]) + "\n", encoding="utf-8")
    tree = quick(experiment, validate_every=2)
    tree["data"] |= {
        "train": [
            {"path": "many", "tag": "<2en>"},
            {"path": "few", "tag": "<2de>", "source": "en", "target": "de", "weight": 2.5},
        ],
        "valid": {"path": "few", "tag": "<2en>"},
    }
    return tree


def test_run_with_tags_and_weights_continues_exactly_and_only_with_them(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    file = write_experiment(tmp_path / "a.yaml", tree)
    whole, continued = tmp_path / "whole", tmp_path / "continued"
    called = nmt_train(file, "--run", whole, "training.steps=9")
    assert called.code == 0, called.err
    assert "few: 20 pairs, tag <2de>, 50 per epoch (55.6 %)" in called.err
    for steps in (4, 9):
        assert nmt_train(file, "--run", continued, f"training.steps={steps}").code == 0
    for name in ("model.safetensors", "training.safetensors"):
        one, other = (run / "checkpoints" / "9" / name for run in (whole, continued))
        assert one.read_bytes() == other.read_bytes()
    tree["data"]["train"][1]["weight"] = 2
    file = write_experiment(tmp_path / "a.yaml", tree)
    refused = nmt_train(file, "--run", continued, "training.steps=10").complaint
    assert "weights of corpora in the training text have changed since update 9" in refused
    tree["data"]["train"][1] |= {"weight": 2.5, "tag": "<2en>"}
    file = write_experiment(tmp_path / "a.yaml", tree)
    refused = nmt_train(file, "--run", continued, "training.steps=10").complaint
    assert "the training text has changed since update 9" in refused


@pytest.mark.parametrize("joint", [True, False])
def test_a_tag_is_one_token_of_the_source(
    joint: bool, tree: dict[str, Any], tmp_path: Path
) -> None:
    tree["data"]["vocabulary"] = {"size": 100, "joint": joint}
    loaded = load_experiment(write_experiment(tmp_path / "a.yaml", tree)).experiment
    datasets = prepare_datasets(loaded, None)
    source, target = datasets.source_vocabulary, datasets.target_vocabulary
    assert source is not None
    for corpus, tags in ((datasets.train, ["<2en>", "<2de>"]), (datasets.valid, ["<2en>"])):
        firsts = [source.tokens(corpus[row][0].tolist())[1] for row in range(len(corpus))]
        assert list(dict.fromkeys(firsts)) == tags
    assert target.has_symbol("<2de>") == joint


def test_temperature_reads_small_corpora_more_often(tree: dict[str, Any], tmp_path: Path) -> None:
    del tree["data"]["train"][1]["weight"]
    tree["data"]["temperature"] = 1000.0
    loaded = load_experiment(write_experiment(tmp_path / "a.yaml", tree)).experiment
    _, plan = build_loader(loaded, prepare_datasets(loaded, None)).plan(0)
    rows = [row for batch in plan for row in batch.tolist()]
    assert sorted(rows)[:40] == list(range(40))
    assert len(rows) == 80


def test_vocabulary_without_the_tag_is_refused(tree: dict[str, Any], tmp_path: Path) -> None:
    text = [line for side in ("de", "en") for line in lines_of(PHRASES.with_suffix(f".{side}"))]
    SentencePieceVocabulary.train(text, size=80).save(tmp_path / "ready.model")
    tree["data"]["vocabulary"] = {"model": "ready.model"}
    loaded = load_experiment(write_experiment(tmp_path / "a.yaml", tree)).experiment
    with pytest.raises(UserError, match=r"data\.train: the source vocabulary has no token <2en>"):
        prepare_datasets(loaded, None)


def test_run_with_pairs_held_out_continues_only_with_the_same_share(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(experiment, steps=2, validate_every=2)
    tree["data"]["valid"] = 0.2
    file = write_experiment(tmp_path / "a.yaml", tree)
    called = nmt_train(file, "--run", tmp_path / "run")
    assert called.code == 0, called.err
    assert "training text: 48 pairs read" in called.err
    assert "validation text: 12 pairs read" in called.err
    refused = nmt_train(file, "--run", tmp_path / "run", "data.valid=0.1", "training.steps=3")
    assert "the training text has changed since update 2" in refused.complaint
    assert nmt_train(file, "--run", tmp_path / "run", "training.steps=3").code == 0
