"""Auxiliary losses of attention in updates, in the dry run and across checkpoints."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from nmt.config.loader import load_experiment
from nmt.data.batch import Batch
from nmt.data.loader import IndexedBatch, Position, UpdateBatch, make_batch
from nmt.model.seq2seq import Seq2Seq
from nmt.training.datasets import prepare_datasets
from nmt.training.hook import Update
from nmt.training.setup import build_trainer
from nmt.training.trainer import Trainer
from tests.commands import nmt_train, reports, state_of, write_experiment

DECODERS = {
    "bahdanau": {"type": "bahdanau", "hidden_size": 32},
    "luong": {"type": "luong", "hidden_size": 32},
    "luong without input feeding": {"type": "luong", "hidden_size": 32, "input_feeding": False},
}
every_decoder = pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS.keys())


def _loss_by_hand(model: Seq2Seq, batch: Batch, strength: float) -> tuple[float, float]:
    """Return the cross entropy, and λ Σ_s (1 - Σ_t α_ts)² from the weights of single steps."""
    memory, state = model.start(batch.source, batch.source_mask_bs)
    total, steps = 0.0, []
    for t, tokens_n in enumerate(batch.target_in_bt.unbind(1)):
        output = model.decoder.step(model.target_embedding(tokens_n), memory, state)
        weights_ns, state = output.weights_ns, output.state
        real = batch.target_mask_bt[:, t]
        logits_rv = model.output_layer(output.output_nd)[real]
        total += cross_entropy(logits_rv, batch.target_out_bt[real, t], reduction="sum").item()
        assert weights_ns is not None
        steps.append((weights_ns * real[:, None]).detach().numpy())
    unread = (1 - np.sum(steps, axis=0)) ** 2
    return total, strength * float(unread[batch.source_mask_bs.numpy()].sum())


@every_decoder
def test_update_includes_auxiliary_loss_of_soft_attention(
    decoder: dict[str, Any], experiment: dict[str, Any], tmp_path: Path
) -> None:
    strength = 0.7
    experiment["model"] |= {
        "decoder": decoder,
        "attention": {"type": "soft", "doubly_stochastic": strength},
    }
    loaded = load_experiment(write_experiment(tmp_path / "soft.yaml", experiment)).experiment
    datasets = prepare_datasets(loaded, None)
    trainer = build_trainer(loaded, datasets, torch.device("cpu"))
    trainer.model.double()
    rows = np.array([0, 12, 31, 7])
    batch = make_batch(datasets.train, rows, datasets.special_tokens)
    assert not batch.source_mask_bs.all()
    assert not batch.target_mask_bt.all()
    entropy, penalty = _loss_by_hand(trainer.model, batch, strength)
    assert penalty > 1
    update = trainer.update(
        UpdateBatch([IndexedBatch(batch, rows)], batch.target_tokens, Position(0, 1))
    )
    assert float(update.nll) == pytest.approx(entropy, rel=1e-10)
    assert float(update.loss) == pytest.approx(entropy + penalty, rel=1e-10)


@pytest.mark.parametrize("attention", ["global", "hard", "soft"])
def test_idle_batch_does_not_change_the_update(
    attention: str, experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["model"] |= {"attention": attention}
    experiment["training"] |= {"optimizer": {"type": "sgd", "learning_rate": 1.0}}
    loaded = load_experiment(write_experiment(tmp_path / "idle.yaml", experiment)).experiment
    datasets = prepare_datasets(loaded, None)
    rows = np.array([0, 12, 31, 7])
    batch = make_batch(datasets.train, rows, datasets.special_tokens)
    counted = IndexedBatch(batch, rows)
    nothing = batch.without_targets()
    found = []
    for group in ([counted], [counted, IndexedBatch(nothing, rows, is_dummy=True)]):
        trainer = build_trainer(loaded, datasets, torch.device("cpu"))
        update = trainer.update(UpdateBatch(group, batch.target_tokens, Position(0, 1)))
        found.append((update, dict(trainer.model.state_dict())))
    (alone, weights), (beside, others) = found
    assert (alone.loss, alone.nll, alone.grad_norm) == (
        beside.loss,
        beside.nll,
        beside.grad_norm,
    )
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.slow
@every_decoder
@pytest.mark.parametrize("attention", ["hard", "soft", "local_m", "local_p"])
def test_dry_run_finds_gradient_of_every_parameter(
    attention: str, decoder: dict[str, Any], experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["model"] |= {"decoder": decoder, "attention": attention}
    called = nmt_train(write_experiment(tmp_path / "a.yaml", experiment), "--check")
    assert called.code == 0, called.err
    assert "all of them get a gradient" in called.out


def test_hard_attention_baseline_continues_bit_identically(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment["model"] |= {"attention": "hard"}
    experiment["training"] |= {"epochs": None, "steps": 6, "save_every": 3, "ema": 0.9}
    experiment["evaluation"] = {"samples": 0, "pictures": 0}
    experiment["search"] = {"beam_size": 1, "max_length": 5}
    file = write_experiment(tmp_path / "hard.yaml", experiment)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert nmt_train(file, "--run", whole).code == 0
    real = Trainer.update

    def disturbed(trainer: Trainer, group: Any) -> Update:
        if trainer.state.step + 1 == 4:
            signal.raise_signal(signal.SIGINT)
        return real(trainer, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", disturbed)
        assert nmt_train(file, "--run", run).code == 130
    torch.manual_seed(99)
    assert nmt_train(file, "--run", run).code == 0
    one, two = whole / "checkpoints" / "6", run / "checkpoints" / "6"
    assert b"decoder.attention.baseline" in (one / "training.safetensors").read_bytes()
    for name in ("model.safetensors", "training.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert state_of(one) == state_of(two)
    assert reports(whole) == reports(run)
