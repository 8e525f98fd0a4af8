"""Validation: its loss, without waits for a GPU between batches, and its translations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.config.loader import load_experiment
from nmt.data.loader import make_batch
from nmt.search import minimum_bayes_risk
from nmt.search.sentence_metrics import make_sentence_metric
from nmt.storage.run_dir import RunDir
from nmt.training import validation
from nmt.training.batch_loss import batch_loss
from nmt.training.best_metric import BestMetricTracker
from nmt.training.datasets import Datasets, prepare_datasets
from nmt.training.metrics_log import MetricsLogger
from nmt.training.setup import build_trainer
from nmt.training.trainer import Trainer
from tests.commands import write_experiment


@pytest.fixture
def made(experiment: dict[str, Any], tmp_path: Path) -> tuple[Trainer, Datasets]:
    loaded = load_experiment(write_experiment(tmp_path / "one.yaml", experiment)).experiment
    datasets = prepare_datasets(loaded, None)
    trainer = build_trainer(loaded, datasets, torch.device("cpu"))
    trainer.model.double()
    return trainer, datasets


def _mean_nll(trainer: Trainer, datasets: Datasets) -> float:
    return validation.mean_nll(
        trainer.model,
        datasets.valid,
        datasets.special_tokens,
        trainer.precision,
        batch_tokens=100,
        chunk=1024,
    )


def test_mean_nll_is_the_mean_over_the_tokens_of_all_sentences(
    made: tuple[Trainer, Datasets],
) -> None:
    trainer, datasets = made
    found = _mean_nll(trainer, datasets)
    total, tokens = 0.0, 0
    for row in range(len(datasets.valid.source_lengths)):
        batch = make_batch(datasets.valid, np.array([row]), datasets.special_tokens)
        _, nll = batch_loss(trainer.model, batch, smoothing=0.0, chunk=1024)
        total += nll.item()
        tokens += batch.target_tokens
    assert found == pytest.approx(total / tokens, rel=1e-10)


def test_no_loss_is_read_before_all_batches_are_computed(
    made: tuple[Trainer, Datasets], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def computed(*given: Any, **options: Any) -> tuple[Tensor, Tensor]:
        events.append("compute")
        return batch_loss(*given, **options)

    def read(tensor: Tensor) -> float:
        events.append("read")
        return tensor.item()

    monkeypatch.setattr(validation, "batch_loss", computed)
    monkeypatch.setattr(Tensor, "__float__", read)
    _mean_nll(*made)
    batches = events.count("compute")
    assert batches > 2
    assert events == ["compute"] * batches + ["read"] * batches


def test_risk_in_validation_has_the_tokenizer_of_the_target_language(
    made: tuple[Trainer, Datasets],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = load_experiment(tmp_path / "one.yaml").experiment
    search = loaded.search.updated({"mbr": "bleu", "beam_size": 2, "max_length": 2})
    data = loaded.data.model_copy(update={"target": "zh"})
    trainer, datasets = made
    run, best = RunDir(tmp_path), BestMetricTracker(["loss"], None)
    validator = validation.Validator(
        loaded.model_copy(update={"search": search, "data": data}),
        datasets,
        run,
        trainer,
        None,
        best,
        MetricsLogger(run, 0, silent=True),
    )
    tokenizers = set()

    def make(name: str, tokenize: str | None) -> Any:
        tokenizers.add(tokenize)
        return make_sentence_metric(name, tokenize)

    monkeypatch.setattr(minimum_bayes_risk, "make_sentence_metric", make)
    validator.evaluate()
    assert tokenizers == {"zh"}
