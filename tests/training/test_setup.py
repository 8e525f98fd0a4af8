"""Preparation of training: vocabularies, corpora in shards, weights of another run."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from nmt.config.loader import load_experiment
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.sentencepiece_training import VocabularyType
from nmt.errors import UserError
from nmt.inference.saved_model import load_saved_model
from nmt.training.datasets import prepare_datasets
from tests.commands import PHRASES, lines_of, nmt_train, reports, state_of, write_experiment
from tests.training.conftest import quick


@pytest.mark.parametrize(
    ("type", "message"),
    [
        ("bpe", r"sampling\.alpha: has no effect without a vocabulary of type unigram"),
        ("char", "sampling: requires a vocabulary of type unigram or bpe"),
    ],
)
def test_sampling_that_does_not_suit_a_given_vocabulary_is_refused(
    type: VocabularyType, message: str, experiment: dict[str, Any], tmp_path: Path
) -> None:
    model = tmp_path / "ready.model"
    text = [line for side in ("de", "en") for line in lines_of(PHRASES.with_suffix(f".{side}"))]
    SentencePieceVocabulary.train(text, size=80, type=type).save(model)
    experiment["data"]["vocabulary"] = {"model": str(model), "sampling": {"alpha": 0.3}}
    loaded = load_experiment(write_experiment(tmp_path / "one.yaml", experiment)).experiment
    with pytest.raises(UserError, match=rf"data\.vocabulary\.{message}"):
        prepare_datasets(loaded, None)


def test_start_from_uses_vocabulary_and_lowers_initial_loss(trained: Path, second: Path) -> None:
    files = [run / "vocabulary" / "joint.model" for run in (trained, second)]
    assert files[0].read_bytes() == files[1].read_bytes()
    sources = [file.with_name("source.model").read_bytes() for file in files]
    assert sources[0] == sources[1] != files[0].read_bytes()
    first = [row["loss"] for row in reports(trained) if row["kind"] == "valid"]
    assert next(r["loss"] for r in reports(second) if r["kind"] == "train") < first[0]
    state = state_of(second / "checkpoints" / "last")
    assert state["step"] == 12
    stored = load_file(second / "checkpoints" / "last" / "training.safetensors")
    assert float(stored["optimizer.0.step"]) == 12


def test_start_from_loads_the_weights(
    trained: Path, experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(experiment, steps=1, start_from=str(trained))
    del tree["data"]["vocabulary"]
    tree["training"]["optimizer"] = {"type": "sgd", "learning_rate": 1e-30}
    run = tmp_path / "run"
    assert nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", run).code == 0
    ours, theirs = (load_saved_model(folder).model.state_dict() for folder in (run, trained))
    for name, weight in ours.items():
        assert weight.equal(theirs[name])


def test_sharded_corpus_with_vocabulary_of_drawn_lines(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    for side in ("de", "en"):
        lines = lines_of(PHRASES.with_suffix(f".{side}"))
        for number, start in enumerate(range(0, len(lines), 25)):
            shard = "".join(f"{line}\n" for line in lines[start : start + 25])
            with gzip.open(tmp_path / f"part-{number}.{side}.gz", "wt", encoding="utf-8") as stream:
                stream.write(shard)
    tree = quick(experiment)
    tree["data"]["train"] = "part-*.de.gz"
    tree["data"]["vocabulary"] = {"size": 100, "lines": 90}
    file = write_experiment(tmp_path / "one.yaml", tree)
    called = nmt_train(file, "--run", tmp_path / "run")
    assert called.code == 0, called.err
    assert f"learned from 90 lines drawn from {2 * len(lines)}" in called.err
    assert f"training text: {len(lines)} pairs read, {len(lines)} kept" in called.err
    assert (
        "drawn"
        not in nmt_train(
            file, "--run", tmp_path / "run", "--restart", "data.vocabulary.lines=500"
        ).err
    )
    (tmp_path / "part-1.en.gz").unlink()
    complaint = nmt_train(file, "--run", tmp_path / "other").complaint
    assert "part-*: " in complaint
    assert "not found" in complaint
    assert not (tmp_path / "other").exists()


def test_format_of_exchanged_gradients_is_a_warning_in_a_single_process(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(experiment, steps=1, gradient_exchange="bf16")
    called = nmt_train(write_experiment(tmp_path / "one.yaml", tree), "--run", tmp_path / "run")
    assert called.code == 0
    assert "training.gradient_exchange has no effect in a single process" in called.err
