"""`batch_tokens: auto`, with a simulated limit of memory."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from nmt.config.loader import load_experiment
from nmt.config.schema import TrainingConfig
from nmt.data.loader import IndexedBatch
from nmt.distributed.process_group import ProcessGroup
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError
from nmt.storage.run_dir import RunDir
from nmt.training import batch_size
from nmt.training.batch_size import find_batch_tokens, largest_fitting, set_batch_tokens
from nmt.training.datasets import prepare_datasets
from nmt.training.setup import build_trainer
from nmt.training.trainer import Trainer
from tests.commands import nmt_train, write_experiment
from tests.conftest import start_ranks
from tests.training.conftest import quick

AUTO = TrainingConfig(batch_tokens="auto", steps=1)


@pytest.mark.parametrize("limit", [1000, 1024, 1025, 1500, 4095, 4096, 70_001])
def test_largest_fitting_is_within_an_eighth_of_the_limit(limit: int) -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= limit

    found = largest_fitting(fits, 1024, 1_000_000)
    if limit < 1024:
        assert found == 0
    else:
        assert found <= limit < found + max(1024, found) // 8 + 1
    assert len(tried) < 15


def test_largest_fitting_tries_nothing_beyond_maximum() -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        tried.append(number)
        return True

    assert largest_fitting(fits, 1024, 3000) == 4096
    assert tried == [1024, 2048, 4096]


@pytest.fixture
def trainer(experiment: dict[str, Any], tmp_path: Path) -> Trainer:
    experiment["model"]["decoder"]["dropout"] = 0.5
    experiment["training"] |= {"batch_tokens": "auto", "batch_sentences": None}
    loaded = load_experiment(write_experiment(tmp_path / "auto.yaml", experiment)).experiment
    made = build_trainer(loaded, prepare_datasets(loaded, None), torch.device("cpu"))
    return made


CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    CUBLAS,
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
]


def _size(indexed: IndexedBatch) -> int:
    return max(indexed.batch.source.numel(), indexed.batch.target_in_bt.numel())


def _holding(most: int, error: RuntimeError = OUT_OF_MEMORY[0]) -> Any:
    """Simulate a GPU that has no memory for batches of more than `most` tokens."""
    backward = Trainer.backward

    def limited(self: Trainer, indexed: IndexedBatch, tokens: int, **options: bool) -> Any:
        found = backward(self, indexed, tokens, **options)
        if _size(indexed) > most:
            raise error
        return found

    return patch.object(Trainer, "backward", limited)


def test_find_batch_tokens_changes_no_state(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "MIN_BATCH_TOKENS", 32)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    random_state = torch.get_rng_state()
    with _holding(300):
        found = find_batch_tokens(trainer)
    assert 0.9 * 300 * 7 / 8 - 1 <= found <= 0.9 * 300 + 32
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(
        torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items()
    )
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert not trainer.optimizer.state
    with _holding(10), pytest.raises(UserError, match="a batch of 32 tokens does not fit"):
        find_batch_tokens(trainer)


def test_trials_do_not_change_the_baselines_of_hard_attention(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment["model"]["attention"] = "hard"
    experiment["training"]["batch_tokens"] = "auto"
    loaded = load_experiment(write_experiment(tmp_path / "hard.yaml", experiment)).experiment
    trainer = build_trainer(loaded, prepare_datasets(loaded, None), torch.device("cpu"))
    before = [buffer.clone() for buffer in trainer.model.buffers()]
    assert before
    monkeypatch.setattr(batch_size, "MIN_BATCH_TOKENS", 32)
    with _holding(300):
        find_batch_tokens(trainer)
    for buffer, value in zip(trainer.model.buffers(), before, strict=True):
        torch.testing.assert_close(buffer, value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_every_error_of_a_full_gpu_is_a_size_that_does_not_fit(
    error: RuntimeError, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "MIN_BATCH_TOKENS", 32)
    with _holding(300, error):
        found = find_batch_tokens(trainer)
    assert 0.9 * 300 * 7 / 8 - 1 <= found <= 0.9 * 300 + 32


def test_another_error_of_a_trial_is_raised(trainer: Trainer) -> None:
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    with _holding(300, error), pytest.raises(RuntimeError, match="illegal memory access"):
        find_batch_tokens(trainer)


def test_a_size_that_does_not_fit_on_another_rank_is_too_large(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "MIN_BATCH_TOKENS", 32)
    tried: list[int] = []
    fits = batch_size._fits

    def recorded(trainer: Trainer, indexed: IndexedBatch) -> bool:
        tried.append(_size(indexed))
        return fits(trainer, indexed)

    class WithSmallerGPU(ProcessGroup):
        """A group whose other rank has memory for 150 tokens."""

        def any(self, flag: bool) -> bool:
            return flag or tried[-1] > 150

    trainer.process_group = WithSmallerGPU(RankInfo(0, world_size=2))
    monkeypatch.setattr(batch_size, "_fits", recorded)
    with _holding(300):
        found = find_batch_tokens(trainer)
    assert 0.9 * 150 * 7 / 8 - 1 <= found <= 0.9 * 150 + 32


@pytest.mark.slow
def test_two_processes_find_the_size_of_the_smaller_gpu(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    # Hard attention has a buffer, which DDP broadcasts in the forward pass.
    experiment["model"]["attention"] = "hard"
    config = write_experiment(tmp_path / "auto.yaml", experiment)
    job = start_ranks("tests.training.batch_size_ranks", config, cwd=tmp_path)
    out, err = job.communicate(timeout=600)
    assert (job.returncode, out) == (0, "done\n"), err


def test_found_batch_tokens_are_saved_in_the_run(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer.precision.device = torch.device("cuda")
    monkeypatch.setattr(batch_size, "find_batch_tokens", lambda trainer: 77)
    set_batch_tokens(trainer, AUTO, RunDir(tmp_path))
    assert trainer.loader.batch_tokens == 77
    _, plan = trainer.loader.plan(0)
    monkeypatch.setattr(batch_size, "find_batch_tokens", lambda trainer: 99)
    set_batch_tokens(trainer, AUTO, RunDir(tmp_path))
    assert trainer.loader.batch_tokens == 77
    set_batch_tokens(trainer, AUTO, None)
    assert trainer.loader.batch_tokens == 99
    assert len(trainer.loader.plan(0)[1]) < len(plan), "the batches are planned again"
    (tmp_path / "batch_tokens").write_text("many")
    with pytest.raises(UserError, match="is not a number; remove the file"):
        set_batch_tokens(trainer, AUTO, RunDir(tmp_path))


def test_given_batch_tokens_are_not_changed(trainer: Trainer) -> None:
    set_batch_tokens(trainer, TrainingConfig(batch_tokens=50, steps=1), None)
    assert trainer.loader.batch_tokens == 1024


@pytest.mark.parametrize("more", [(), ("--check",)])
def test_auto_on_cpu_is_refused(
    more: tuple[str, ...], experiment: dict[str, Any], tmp_path: Path
) -> None:
    config = write_experiment(tmp_path / "auto.yaml", quick(experiment, batch_tokens="auto"))
    complaint = nmt_train(config, "--run", tmp_path / "run", *more).complaint
    assert "batch_tokens: auto measures the memory of a GPU; use a number on a CPU" in complaint


def test_invalid_batch_tokens_are_refused(experiment: dict[str, Any], tmp_path: Path) -> None:
    for wrong in ("most", 0, -1):
        config = write_experiment(tmp_path / "auto.yaml", quick(experiment, batch_tokens=wrong))
        complaint = nmt_train(config, "--run", tmp_path / "run").complaint
        assert "training.batch_tokens" in complaint
