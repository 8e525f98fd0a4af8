"""Detection of NaN and infinite values that lags by one update, as on a GPU."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from nmt.config.loader import load_experiment
from nmt.config.schema import ModelConfig
from nmt.data.batch import collate
from nmt.data.loader import BatchLoader, IndexedBatch, Position, UpdateBatch
from nmt.data.special_tokens import SpecialTokens
from nmt.errors import UserError
from nmt.registry import SCHEDULES, ComponentConfig
from nmt.training import nonfinite
from nmt.training.datasets import prepare_datasets
from nmt.training.precision import Precision
from nmt.training.setup import build_trainer
from nmt.training.trainer import Trainer
from tests.commands import write_experiment
from tests.lagging_copy import lagging_copy
from tests.meta import META, make_ready
from tests.model.small import build, every_part_once

MARKS = SpecialTokens(0, 1, 2)


@pytest.fixture(params=["adam", "adamw", "sgd"])
def pair(
    request: pytest.FixtureRequest,
    experiment: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Trainer, Trainer]:
    """Two equal trainers, one that checks each update at once and one that lags by one update."""
    momentum = {"momentum": 0.9} if request.param == "sgd" else {}
    experiment["training"]["optimizer"] = {"type": request.param, "learning_rate": 0.01, **momentum}
    loaded = load_experiment(write_experiment(tmp_path / "one.yaml", experiment)).experiment
    datasets = prepare_datasets(loaded, None)
    immediate = build_trainer(loaded, datasets, torch.device("cpu"))
    monkeypatch.setattr(nonfinite, "AsyncHostCopy", lagging_copy(1))
    late = build_trainer(loaded, datasets, torch.device("cpu"))
    assert late.precision.may_skip(late.optimizer)
    late.skips_on_device = True
    return immediate, late


def _state(trainer: Trainer) -> list[Tensor]:
    states = [part for one in trainer.optimizer.state.values() for part in one.values()]
    tensors = [part for part in states if isinstance(part, Tensor)]
    return [part.detach().clone() for part in [*trainer.model.parameters(), *tensors]]


def _groups(trainer: Trainer, count: int) -> list[UpdateBatch]:
    groups = trainer.loader.updates(Position(0, 0), 1, trainer.process_group.info)
    return [copy.deepcopy(group) for group, _ in zip(groups, range(count), strict=False)]


def _make_gradient_infinite(trainer: Trainer) -> None:
    bias = dict(trainer.model.named_parameters())["output_layer.bias"]
    bias.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[no-untyped-call]


def test_lagging_check_gives_bit_identical_updates(pair: tuple[Trainer, Trainer]) -> None:
    states = []
    for trainer in pair:
        for group in _groups(trainer, 4):
            trainer.update(group)
        trainer.flush()
        states.append(_state(trainer))
    assert all(map(torch.equal, *states))


@pytest.mark.parametrize("found_by", ["next update", "flush"])
def test_nonfinite_gradient_changes_nothing_and_raises_one_update_later(
    found_by: str, pair: tuple[Trainer, Trainer]
) -> None:
    _, late = pair
    groups = _groups(late, 4)
    for group in groups[:2]:
        late.update(group)
    before = _state(late)
    _make_gradient_infinite(late)
    late.update(groups[2])
    assert all(map(torch.equal, _state(late), before))
    lines = ", ".join(map(str, groups[2].batches[0].lines[:5].tolist()))
    with pytest.raises(UserError, match=rf"update 3: the gradient norm is .* lines {lines}"):
        late.update(groups[3]) if found_by == "next update" else late.flush()
    assert all(map(torch.equal, _state(late), before))


def test_signal_takes_effect_after_the_lag(pair: tuple[Trainer, Trainer]) -> None:
    for trainer, first_effect in zip(pair, (1, 2), strict=True):
        trainer.stop.signal_received = True
        assert [trainer.stop.is_interrupted] == [False]
        for number, group in enumerate(_groups(trainer, 2), start=1):
            trainer.update(group)
            assert trainer.stop.is_interrupted == (number >= first_effect)


class NoOpOptimizer(Optimizer):
    """Optimizer that changes nothing, and can skip a step on the device like a fused one."""

    _step_supports_amp_scaling = True

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 1.0})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Do nothing."""


@pytest.mark.parametrize("model", every_part_once())
def test_update_never_synchronizes_the_device(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(monkeypatch)
    monkeypatch.setattr(nonfinite, "AsyncHostCopy", lagging_copy(1))
    built = build(model, torch.float32).to(META)
    trainer = Trainer(
        built,
        NoOpOptimizer(built.parameters()),
        SCHEDULES.build(ComponentConfig("constant")),
        BatchLoader.__new__(BatchLoader),  # not used: the test makes the batch
        Precision("fp32", META),
        label_smoothing=0.1,
    )
    trainer.skips_on_device = True
    sides = [np.array([3, 4, 5]), np.array([3])], [np.array([3, 4, 5, 6]), np.array([4])]
    batch = collate(*sides, MARKS, MARKS)
    group = UpdateBatch(
        [IndexedBatch(batch, np.arange(2))] * 2, 2 * batch.target_tokens, Position(0, 1)
    )
    update = trainer.update(group)
    assert {update.loss.device, update.grad_norm.device, update.nll.device} == {META}
