"""Single updates: accumulation, clipping, ranks, and losses that are not finite."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.config.loader import load_experiment
from nmt.data.batch import Batch
from nmt.data.loader import IndexedBatch, Position, UpdateBatch, make_batch
from nmt.distributed.process_group import ProcessGroup
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError
from nmt.training.datasets import Datasets, prepare_datasets
from nmt.training.setup import build_trainer
from nmt.training.trainer import Trainer
from tests.commands import nmt_train, state_of, write_experiment

CPU = torch.device("cpu")


@pytest.fixture
def made(experiment: dict[str, Any], tmp_path: Path) -> tuple[Trainer, Datasets]:
    """A trainer in float64 whose step is minus the gradient."""
    experiment["training"] |= {
        "optimizer": {"type": "sgd", "learning_rate": 1.0},
        "clip_norm": None,
        "label_smoothing": 0.1,
    }
    loaded = load_experiment(write_experiment(tmp_path / "one.yaml", experiment)).experiment
    datasets = prepare_datasets(loaded, None)
    trainer = build_trainer(loaded, datasets, CPU)
    trainer.model.double()
    return trainer, datasets


def _indexed(datasets: Datasets, rows: list[int]) -> IndexedBatch:
    array = np.array(rows)
    batch = make_batch(datasets.train, array, datasets.special_tokens)
    return IndexedBatch(batch, datasets.train.lines[array] + 1)


def _update_batch(datasets: Datasets, *rows: list[int]) -> UpdateBatch:
    batches = [_indexed(datasets, some) for some in rows]
    tokens = sum(one.batch.target_tokens for one in batches)
    return UpdateBatch(batches, tokens, Position(0, len(batches)))


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def test_accumulated_batches_equal_one_large_batch(
    made: tuple[Trainer, Datasets],
) -> None:
    trainer, datasets = made
    start = copy.deepcopy(trainer.model.state_dict())
    one = trainer.update(_update_batch(datasets, [0, 4, 7, 11, 12, 30]))
    together = _weights(trainer)
    trainer.model.load_state_dict(start)
    parts = trainer.update(_update_batch(datasets, [0, 12], [30, 7, 4, 11]))
    assert parts.target_tokens == one.target_tokens
    assert float(parts.loss) == pytest.approx(float(one.loss), rel=1e-12)
    assert float(parts.nll) == pytest.approx(float(one.nll), rel=1e-12)
    assert float(parts.grad_norm) == pytest.approx(float(one.grad_norm), rel=1e-12)
    for name, weight in _weights(trainer).items():
        torch.testing.assert_close(weight, together[name], rtol=1e-10, atol=1e-14)


def test_mean_gradient_of_two_ranks_equals_that_of_accumulated_batches(
    made: tuple[Trainer, Datasets],
) -> None:
    """DDP averages the gradients of the ranks, whose batches differ in target tokens."""
    trainer, datasets = made
    update_batch = _update_batch(datasets, [0, 12], [30, 7, 4, 11])

    def gradients(batches: list[IndexedBatch]) -> dict[str, Tensor]:
        trainer.optimizer.zero_grad()
        for indexed in batches:
            trainer.backward(indexed, update_batch.target_tokens)
        return {
            name: p.grad.clone()
            for name, p in trainer.model.named_parameters()
            if p.grad is not None
        }

    expected = gradients(update_batch.batches)
    found = []
    for rank, indexed in enumerate(update_batch.batches):
        trainer.process_group = ProcessGroup(RankInfo(rank, world_size=2))
        found.append(gradients([indexed]))
    assert expected.keys() == found[0].keys() == found[1].keys()
    for name, gradient in expected.items():
        mean = (found[0][name] + found[1][name]) / 2
        torch.testing.assert_close(mean, gradient, rtol=1e-10, atol=1e-14)


def test_gradient_is_of_the_mean_loss_per_token(made: tuple[Trainer, Datasets]) -> None:
    trainer, datasets = made
    update_batch = _update_batch(datasets, [1, 2, 20])
    batch = update_batch.batches[0].batch
    before = _weights(trainer)
    bias = "output_layer.bias"
    count = batch.target_tokens
    outputs = trainer.model(batch.source, batch.source_mask_bs, batch.target_in_bt).output_btd
    probabilities = trainer.model.output_layer(outputs)[batch.target_mask_bt].softmax(-1)
    wanted = torch.full_like(probabilities, 0.1 / probabilities.size(1))
    targets = batch.target_out_bt[batch.target_mask_bt]
    wanted[torch.arange(count), targets] += 0.9
    gradient = (probabilities - wanted).sum(0) / count
    trainer.update(update_batch)
    step = before[bias] - _weights(trainer)[bias]
    torch.testing.assert_close(step, gradient.detach(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("clip_norm", [0.01, 1e6])
def test_clipping_scales_gradients_to_the_norm(
    clip_norm: float, made: tuple[Trainer, Datasets]
) -> None:
    trainer, datasets = made
    before = _weights(trainer)
    start = copy.deepcopy(trainer.model.state_dict())
    free = trainer.update(_update_batch(datasets, [0, 1, 2]))
    steps = {name: before[name] - weight for name, weight in _weights(trainer).items()}
    norm = torch.sqrt(sum((s.square().sum() for s in steps.values()), torch.zeros(())))
    assert float(free.grad_norm) == pytest.approx(float(norm), rel=1e-9)
    trainer.model.load_state_dict(start)
    trainer.clip_norm = clip_norm
    clipped = trainer.update(_update_batch(datasets, [0, 1, 2]))
    assert float(clipped.grad_norm) == pytest.approx(float(norm), rel=1e-9)
    share = min(1.0, clip_norm / float(norm))
    for name, weight in _weights(trainer).items():
        expected = steps[name] * share
        torch.testing.assert_close(before[name] - weight, expected, rtol=1e-4, atol=1e-12)


def test_gradients_are_not_multiplied_without_clipping(
    made: tuple[Trainer, Datasets], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, datasets = made
    multiplied: list[object] = []
    multiply = torch._foreach_mul_
    monkeypatch.setattr(
        torch, "_foreach_mul_", lambda *values: multiplied.append(multiply(*values))
    )
    free = trainer.update(_update_batch(datasets, [0, 1, 2]))
    assert not multiplied
    trainer.clip_norm = 0.5 * float(free.grad_norm)
    trainer.update(_update_batch(datasets, [0, 1, 2]))
    assert multiplied


def test_last_update_of_epoch_has_the_remaining_batches(
    made: tuple[Trainer, Datasets],
) -> None:
    trainer, _ = made
    trainer.accumulate = 4  # of 6 batches
    updates = trainer.updates()
    found = [next(updates) for _ in range(3)]
    assert [update.position for update in found] == [Position(0, 4), Position(1, 0), Position(1, 4)]
    assert [update.ends_epoch for update in found] == [False, True, False]


def test_nan_loss_stops_training_and_names_the_lines(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["training"] |= {
        "optimizer": {"type": "sgd", "learning_rate": 1e-9},
        "schedule": {"type": "luong", "start": 3, "every": 1, "decay": 0.5},
        "clip_norm": None,
        "save_every": 1,
        "batch_sentences": 4,
        "validate_every": 1000,
    }
    file, run = write_experiment(tmp_path / "nan.yaml", experiment), tmp_path / "run"

    def make_nonfinite(
        trainer: Trainer, indexed: IndexedBatch, tokens: int
    ) -> tuple[Tensor, Tensor]:
        if trainer.state.step == 4:
            dict(trainer.model.named_parameters())["output_layer.bias"].data[3] = float("nan")
            lines.extend(indexed.lines.tolist())
        return real(trainer, indexed, tokens)

    lines: list[int] = []
    real = Trainer.backward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "backward", make_nonfinite)
        called = nmt_train(file, "--run", run)
    assert "update 5: the loss is nan" in called.complaint
    assert f"training lines {', '.join(map(str, lines))};" in called.complaint
    assert len(lines) == 4
    assert (run / "checkpoints" / "last").resolve().name == "4"
    assert nmt_train(file, "training.steps=5", "--run", tmp_path / "other").code == 0
    state = state_of(run / "checkpoints" / "4")
    assert state == state_of(tmp_path / "other" / "checkpoints" / "4")


def test_far_too_high_learning_rate_is_an_error(experiment: dict[str, Any], tmp_path: Path) -> None:
    experiment["training"] |= {
        "optimizer": {"type": "sgd", "learning_rate": 1e6},
        "clip_norm": None,
    }
    called = nmt_train(write_experiment(tmp_path / "a.yaml", experiment), "--run", tmp_path / "r")
    assert "the loss is" in called.complaint
    assert "try a lower learning_rate" in called.complaint


def test_nonfinite_loss_names_the_one_accumulated_batch(
    made: tuple[Trainer, Datasets], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, datasets = made
    before, real = _weights(trainer), Trainer.backward

    def make_nonfinite(
        trainer: Trainer, indexed: IndexedBatch, tokens: int
    ) -> tuple[Tensor, Tensor]:
        loss, nll = real(trainer, indexed, tokens)
        return loss * (float("inf") if 5 in indexed.lines else 1.0), nll

    monkeypatch.setattr(Trainer, "backward", make_nonfinite)
    with pytest.raises(UserError, match=r"update 1: the loss is inf .* lines 5, 8; the last"):
        trainer.update(_update_batch(datasets, [0, 2], [4, 7], [1]))
    assert trainer.state.step == 0
    for name, weight in _weights(trainer).items():
        assert torch.equal(weight, before[name])


def test_nonfinite_gradient_changes_no_parameter(made: tuple[Trainer, Datasets]) -> None:
    trainer, datasets = made
    bias = dict(trainer.model.named_parameters())["output_layer.bias"]
    bias.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[no-untyped-call]
    before = _weights(trainer)
    with pytest.raises(UserError, match=r"update 1: the gradient norm is (nan|inf) .* lines 1, 3"):
        trainer.update(_update_batch(datasets, [0, 2]))
    assert trainer.state.step == 0
    for name, weight in _weights(trainer).items():
        assert torch.equal(weight, before[name])


class _SmallMemory(torch.nn.Module):
    """A loss for whose forward pass memory suffices up to a number of pairs."""

    def __init__(self, loss: torch.nn.Module, pairs: int) -> None:
        super().__init__()
        self.loss, self.pairs = loss, pairs
        self.tried: list[int] = []

    def forward(self, batch: Batch, **options: Any) -> tuple[Tensor, Tensor]:
        pairs = len(batch.target_out_bt)
        self.tried.append(pairs)
        if pairs > self.pairs:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0")
        return self.loss(batch, **options)


def test_batch_that_does_not_fit_is_divided_with_the_same_result(
    made: tuple[Trainer, Datasets], log_text: pytest.LogCaptureFixture
) -> None:
    trainer, datasets = made
    start = copy.deepcopy(trainer.model.state_dict())
    rows = [0, 7], [4, 11, 12, 30, 31]
    whole = trainer.update(_update_batch(datasets, *rows))
    expected = _weights(trainer)
    trainer.model.load_state_dict(start)
    trainer.loss = memory = _SmallMemory(trainer.loss, 2)
    trainer.splitter.is_enabled = True
    update = trainer.update(_update_batch(datasets, *rows))
    # The gradients of the first batch are computed again, since the others are added to them.
    assert memory.tried == [2, 5, 2, 2, 3, 2, 2, 1, 2]
    for name, value in _weights(trainer).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(update.loss, whole.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(update.nll, whole.nll, rtol=1e-12, atol=0)
    assert update.target_tokens == whole.target_tokens
    assert log_text.text.count("does not fit into memory and is divided") == 1
    assert "a batch of 5 pairs of up to " in log_text.text


@pytest.mark.parametrize("splits", [True, False])
def test_batch_that_cannot_be_divided_is_one_line(
    splits: bool, made: tuple[Trainer, Datasets]
) -> None:
    trainer, datasets = made
    before = _weights(trainer)
    trainer.loss, trainer.splitter.is_enabled = _SmallMemory(trainer.loss, 0), splits
    pairs = 1 if splits else 2
    message = rf"^out of memory: 2.50 GiB more are needed for a batch of {pairs} pairs .*; lower"
    with pytest.raises(UserError, match=message):
        trainer.update(_update_batch(datasets, [0, 7]))
    assert all(value.equal(before[name]) for name, value in _weights(trainer).items())
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
