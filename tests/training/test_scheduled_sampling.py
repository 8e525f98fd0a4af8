"""Scheduled sampling compared with a loop over single steps, for every decoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from nmt.config.objective_options import ScheduledSamplingConfig
from nmt.config.schema import ModelConfig
from nmt.config.validation import validate
from nmt.data.batch import Batch
from nmt.errors import UserError
from nmt.model.seq2seq import Seq2Seq
from nmt.training.batch_loss import batch_loss
from nmt.training.scheduled_sampling import ScheduledSampling
from tests.commands import nmt_train, write_experiment
from tests.model.small import PIECES, build, every_part_once, text

EOS = 2


def _batch() -> Batch:
    given = text()
    out_bt = given.target_bt.roll(-1, 1)
    return Batch.create(
        given.source_bs, given.source_mask_bs, given.target_bt, out_bt, given.target_mask_bt
    )


def _half() -> ScheduledSampling:
    """Return scheduled sampling with ε = 1/2 in update 2."""
    return ScheduledSampling("exponential", 0.5, eos=EOS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Bengio et al. 2015, section 2.4, at updates 1, 11 and 1001.
        ({"k": 10.0}, [10 / 11, 10 / (10 + np.e), 0.0]),
        ({"decay": "exponential", "k": 0.9}, [1.0, 0.9**10, 0.0]),
        ({"decay": "linear", "k": 40.0}, [1.0, 0.75, 0.0]),
        ({"decay": "linear", "k": 40.0, "minimum": 0.8}, [1.0, 0.8, 0.8]),
        ({}, [1000 / 1001, 1000 / (1000 + np.exp(0.01)), 1000 / (1000 + np.e)]),
    ],
)
def test_probability_of_a_reference_token_decays(
    options: dict[str, Any], expected: list[float]
) -> None:
    config = ScheduledSamplingConfig(**options)
    sampling = ScheduledSampling(config.decay, config.constant, minimum=config.minimum, eos=EOS)
    found = [sampling.probability(step) for step in (1, 11, 1001)]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "options", [{"k": 0.5}, {"decay": "exponential", "k": 1.0}, {"decay": "linear", "k": 0.9}]
)
def test_constant_that_does_not_suit_its_decay_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="k must be"):
        validate(ScheduledSamplingConfig, options)


def _replaced(model: Seq2Seq, batch: Batch, epsilon: float) -> list[list[int]]:
    """Return the decoder's inputs with samples in place of some of them, by single steps.

    The random numbers are drawn in the order of the flattened inputs: first those that choose, then
    those that sample.
    """
    rows = [
        row[mask].tolist()
        for row, mask in zip(batch.target_in_bt, batch.target_mask_bt, strict=True)
    ]
    inner = [(b, t) for b, row in enumerate(rows) for t in range(1, len(row))]
    coins = torch.rand(len(inner))
    chosen = [place for place, coin in zip(inner, coins, strict=True) if coin >= epsilon]
    uniform = torch.rand(len(chosen), dtype=torch.float64).tolist()
    mixed = [list(row) for row in rows]
    for (b, t), number in zip(chosen, uniform, strict=True):
        mask_bs = batch.source_mask_bs[b : b + 1]
        length = int(mask_bs.sum())
        memory, state = model.start(batch.source[b : b + 1, :length], mask_bs[:, :length])
        for token in rows[b][:t]:
            prediction = model.step(torch.tensor([token]), memory, state)
            state = prediction.state
        cumulative = np.cumsum(prediction.log_probs_nv[0].detach().double().exp().numpy())
        token = int(np.searchsorted(cumulative, number * cumulative[-1], side="right"))
        mixed[b][t] = rows[b][t] if token == EOS else token
    return mixed


@pytest.mark.parametrize("config", every_part_once())
def test_inputs_are_samples_of_the_model_after_reference_tokens(config: ModelConfig) -> None:
    model, batch = build(config), _batch()
    replaced = set()
    for seed in range(3):
        torch.manual_seed(seed)
        expected = _replaced(model, batch, 0.5)
        torch.manual_seed(seed)
        mixed = _half().mix(model.train(), batch, batch, step=2)
        assert model.training
        model.eval()
        for row, mask_t, own in zip(
            mixed.target_in_bt, batch.target_mask_bt, expected, strict=True
        ):
            assert row[mask_t].tolist() == own
            assert not row[~mask_t].any()  # padding
        assert mixed.target_in_bt.max() < PIECES
        replaced |= set((mixed.target_in_bt != batch.target_in_bt).nonzero().flatten().tolist())
        assert torch.equal(mixed.target_out_bt, batch.target_out_bt)
    assert replaced


def test_loss_is_that_of_the_references_after_the_mixed_inputs() -> None:
    model, batch = build(every_part_once()[0].values[0]), _batch()
    mixed = _half().mix(model.train(), batch, batch, step=2)
    loss, nll = batch_loss(model.eval(), mixed, smoothing=0.0, chunk=8)
    expected = torch.zeros((), dtype=torch.float64)
    memory, state = model.start(batch.source, batch.source_mask_bs)
    for t, tokens_n in enumerate(mixed.target_in_bt.unbind(1)):
        prediction = model.step(tokens_n, memory, state)
        state, real = prediction.state, batch.target_mask_bt[:, t]
        logits = prediction.log_probs_nv[real].double()
        expected = expected + cross_entropy(logits, batch.target_out_bt[real, t], reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert nll.item() == pytest.approx(expected.item(), rel=1e-6)


def test_probability_one_takes_no_second_pass_and_zero_replaces_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch = build(every_part_once()[0].values[0]), _batch()
    assert _half().mix(model, batch, batch, step=1) is batch
    distinct = set()
    for seed in range(10):
        torch.manual_seed(seed)
        mixed = ScheduledSampling("linear", 1.0, eos=EOS).mix(model, batch, batch, step=2)
        distinct.add(tuple(mixed.target_in_bt.flatten().tolist()))
        assert torch.equal(mixed.target_in_bt[:, 0], batch.target_in_bt[:, 0])
    assert len(distinct) > 8


def test_continued_training_equals_an_uninterrupted_one(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["model"]["decoder"]["dropout"] = 0.2
    experiment["training"] |= {
        "epochs": None,
        "steps": 4,
        "save_every": 2,
        "validate_every": 100,
        "scheduled_sampling": {"decay": "exponential", "k": 0.5},
    }
    experiment["search"] = {"beam_size": 1, "max_length": 2}
    experiment["evaluation"] = {"samples": 0, "pictures": 0}
    path = write_experiment(tmp_path / "a.yaml", experiment)
    assert nmt_train(path, "--run", tmp_path / "whole").code == 0
    assert nmt_train(path, "--run", tmp_path / "parts", "training.steps=2").code == 0
    assert nmt_train(path, "--run", tmp_path / "parts").code == 0
    whole, parts = (
        (tmp_path / name / "checkpoints" / "last" / "model.safetensors").read_bytes()
        for name in ("whole", "parts")
    )
    assert whole == parts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recurrence": "graph"}, "scheduled_sampling: is not possible with recurrence: graph"),
        (
            {"minimum_risk": {}, "start_from": "run"},
            "replaces the loss that scheduled_sampling changes; remove one of them",
        ),
    ],
)
def test_objectives_that_exclude_scheduled_sampling_are_errors(
    changes: dict[str, Any], message: str, experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["training"] |= {"scheduled_sampling": {}, **changes}
    called = nmt_train(write_experiment(tmp_path / "a.yaml", experiment), "--check")
    assert message in called.complaint
