"""Updates as CUDA graphs, which `tests.cuda_graphs` simulates, against updates without graphs."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.config.loader import load_experiment
from nmt.cuda_graphs import MAX_GRAPHS, streams
from nmt.data.batch import Batch
from nmt.data.batch_plan import plan_epoch
from nmt.data.loader import Position, UpdateBatch
from nmt.device import parallel_branches, run_branches
from nmt.errors import OptionError, UserError
from nmt.registry import OPTIMIZERS, ComponentConfig
from nmt.training.datasets import prepare_datasets
from nmt.training.graphed_update import GraphedUpdate, check_graph_support
from nmt.training.setup import build_trainer
from nmt.training.trainer import Trainer
from tests.commands import nmt_train, write_experiment
from tests.cuda_graphs import CudaGraphs
from tests.training.conftest import quick

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> CudaGraphs:
    simulated = CudaGraphs(monkeypatch)
    compute = Trainer.compute_update
    monkeypatch.setattr(
        Trainer,
        "compute_update",
        lambda self, *given: simulated.recorded(lambda *same: compute(self, *same))(*given),
    )
    monkeypatch.setattr("nmt.training.setup.check_graph_support", lambda *_, **__: None)
    return simulated


def _trainer(experiment: dict[str, Any], folder: Path, **training: Any) -> Trainer:
    """Return a trainer whose random numbers and learning rates are exact."""
    experiment["training"] |= {
        "batch_tokens": 200,
        "batch_sentences": None,
        "optimizer": {"type": "adam", "learning_rate": 2**-8},
        **training,
    }
    loaded = load_experiment(write_experiment(folder / "graph.yaml", experiment)).experiment
    return build_trainer(loaded, prepare_datasets(loaded, None), CPU)


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


PAIRS = {"A": [0, 4, 7, 11, 30], "a": [11, 5, 0, 7, 4], "B": [1, 2, 3]}


def _train(trainer: Trainer, names: str) -> list[float]:
    """Update by the named batches; return the losses. Those of A and a have the same shape."""
    corpus, _ = trainer.loader.plan(0)
    losses = []
    for name in names:
        indexed = trainer.loader.load_batch(corpus, np.array(PAIRS[name]))
        batch = UpdateBatch([indexed], indexed.batch.target_tokens, Position(0, 1))
        losses.append(float(trainer.update(batch).loss))
    return losses


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_updates_by_graphs_equal_those_without(
    optimizer: str,
    cuda: CudaGraphs,
    experiment: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment["training"]["schedule"] = {"type": "inverse_sqrt", "warmup": 4}
    options: dict[str, Any] = {"type": optimizer, "learning_rate": 2**-6}
    if optimizer == "sgd":
        options["momentum"] = 0.5
    given = {"optimizer": options, "recurrence": "graph"}
    graphed = _trainer(experiment, tmp_path, **given)
    plain = _trainer(experiment, tmp_path, **given)
    plain.graphs = None
    found, expected = _train(graphed, "ABaBBA"), _train(plain, "ABaBBA")
    assert graphed.graphs is not None
    assert (graphed.graphs.captures, graphed.graphs.launches) == (2, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for name, weight in _weights(plain).items():
        torch.testing.assert_close(_weights(graphed)[name], weight, rtol=1e-5, atol=1e-6)
    assert graphed.learning_rate == plain.learning_rate


def test_first_updates_and_captures_share_one_stream_and_one_pool(
    cuda: CudaGraphs, experiment: dict[str, Any], tmp_path: Path
) -> None:
    trainer = _trainer(experiment, tmp_path, recurrence="graph")
    _train(trainer, "AABB")
    current, stream, branch = cuda.streams  # no other stream was made
    assert cuda.captured_on == [stream] * 2
    assert cuda.ran_on == [stream] * 2
    assert cuda.pools == ["pool"] * 2
    # Both directions of the encoder are joined, and other work waits for the first updates.
    assert branch in stream.waited and stream in current.waited


@pytest.mark.parametrize("directions", [1, 2])
def test_encoder_of_one_or_two_directions_is_captured(directions: int, cuda: CudaGraphs) -> None:
    record = cuda.recorded(lambda batch, tokens: tokens.expand(3))

    def compute(*given: Any) -> Tensor:
        if directions == 2:
            run_branches(lambda: None, lambda: None, None)
        return record(*given)

    update = GraphedUpdate(compute, CPU)
    ids, mask = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1).bool()
    for _ in range(2):
        update(Batch.create(ids, mask, ids, ids, mask), 1)
    assert (update.captures, update.launches) == (1, 1)


def test_least_recently_used_graph_is_dropped(cuda: CudaGraphs) -> None:
    update = GraphedUpdate(cuda.recorded(lambda batch, tokens: tokens.expand(3)), CPU, max_graphs=2)

    def batch(length: int) -> Batch:
        ids, mask = torch.zeros(1, length, dtype=torch.long), torch.ones(1, length).bool()
        return Batch.create(ids, mask, ids, ids, mask).with_groups()

    for length in (1, 1, 2, 2, 1):
        assert update(batch(length), length)[0] == length
    assert (update.captures, update.launches) == (2, 3)
    update(batch(3), 3)
    update(batch(3), 3)  # drops the graph of length 2
    assert [graph.is_reset for graph in cuda.graphs] == [False, True, False]
    update(batch(1), 1)
    assert update.captures == 3
    assert update(batch(2), 7)[0] == 7.0  # captured again, without a first update
    assert update.captures == 4


def test_results_outlive_the_next_launch(cuda: CudaGraphs) -> None:
    update = GraphedUpdate(cuda.recorded(lambda batch, tokens: tokens.expand(3)), CPU)
    ids, mask = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1).bool()
    batch = Batch.create(ids, mask, ids, ids, mask)
    results = [update(batch, tokens) for tokens in (5, 6, 7)]
    assert [float(result[0]) for result in results] == [5.0, 6.0, 7.0]


def test_failed_capture_is_one_warning_and_training_goes_on(
    cuda: CudaGraphs,
    experiment: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = _trainer(experiment, tmp_path, recurrence="graph")
    plain = _trainer(experiment, tmp_path, recurrence="graph")
    plain.graphs = None
    losses = _train(trainer, "AAAB")
    assert trainer.graphs is not None and trainer.graphs.launches == 2
    cuda.failure = RuntimeError(
        "CUDA error: operation not permitted when stream is capturing\nmore"
    )
    with caplog.at_level(logging.WARNING, "nmt"):
        losses += _train(trainer, "BAB")
    (record,) = caplog.records
    assert "training continues without graphs; set training.recurrence: auto" in record.message
    assert record.message.endswith("when stream is capturing)")
    assert all(graph.is_reset for graph in cuda.graphs)
    assert (trainer.graphs.captures, trainer.graphs.launches) == (1, 2)
    assert cuda.pools_left == [(0, "pool")]
    # After the failure everything runs on the current stream.
    current, stream, _ = cuda.streams
    assert cuda.ran_on == [stream, stream, current, current, current]
    np.testing.assert_allclose(losses, _train(plain, "AAABBAB"), rtol=1e-5)


def test_unusable_gpu_after_a_capture_raises_the_error_of_the_capture(
    cuda: CudaGraphs, experiment: dict[str, Any], tmp_path: Path
) -> None:
    trainer = _trainer(experiment, tmp_path, recurrence="graph")
    cuda.failure = RuntimeError("CUDA error: an illegal memory access was encountered")
    cuda.is_unusable = True
    with pytest.raises(RuntimeError, match="illegal memory access") as raised:
        _train(trainer, "AA")
    assert raised.value is cuda.failure
    assert "training.recurrence: auto" in raised.value.__notes__[0]


def test_nonfinite_update_by_a_graph_changes_no_parameter(
    cuda: CudaGraphs, experiment: dict[str, Any], tmp_path: Path
) -> None:
    trainer = _trainer(experiment, tmp_path, recurrence="graph")
    _train(trainer, "AAA")
    assert trainer.graphs is not None and trainer.graphs.launches == 2
    with torch.no_grad():
        trainer.model.output_layer.bias[0] = torch.inf
    before = _weights(trainer)
    with pytest.raises(UserError, match="update 4: the loss is"):
        _train(trainer, "A")
    for name, weight in _weights(trainer).items():
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize("decoder", ["bahdanau", "luong", "transformer"])
def test_rounded_lengths_change_loss_and_gradients_by_rounding_alone(
    decoder: str, cuda: CudaGraphs, experiment: dict[str, Any], tmp_path: Path
) -> None:
    if decoder == "transformer":
        experiment["model"] = {"embedding_size": 16, "encoder": "transformer", "decoder": decoder}
    else:
        experiment["model"]["decoder"] = {"type": decoder, "hidden_size": 16}
    trainers = [_trainer(experiment, tmp_path, recurrence=way) for way in ("auto", "graph")]
    found = []
    for trainer in trainers:
        trainer.model.double().eval()  # without dropout, whose masks depend on the shape
        corpus, _ = trainer.loader.plan(0)
        indexed = trainer.loader.load_batch(corpus, np.array([0, 4, 7, 11, 30]))
        assert indexed.batch.target_tokens == 5 + corpus.target_lengths[[0, 4, 7, 11, 30]].sum()
        loss, nll = trainer.backward(indexed, 100)
        found.append([loss, nll, *(p.grad for p in trainer.model.parameters())])
    lengths = [*indexed.batch.source.shape, *indexed.batch.target_in_bt.shape][1::2]
    assert [length % 8 for length in lengths] == [0, 0]
    for plain, rounded in zip(*found, strict=True):
        torch.testing.assert_close(rounded, plain, rtol=1e-9, atol=1e-12)


def _wmt_like_lengths(pairs: int) -> tuple[Any, Any]:
    """Draw lengths of 1 to 100 tokens with a mean of 29, whose ratio varies by a fifth."""
    generator = np.random.default_rng(0)
    targets = generator.lognormal(3.2, 0.6, pairs)
    sources = targets * generator.lognormal(0.0, 0.2, pairs)
    source_lengths, target_lengths = (
        np.clip(np.rint(lengths), 1, 100).astype(np.int32) for lengths in (sources, targets)
    )
    return source_lengths, target_lengths


@pytest.mark.slow
@pytest.mark.parametrize("batch_tokens", [4000, 16_000, 25_000])
def test_nine_of_ten_updates_of_an_epoch_find_a_graph(batch_tokens: int, cuda: CudaGraphs) -> None:
    sources, targets = _wmt_like_lengths(2_000_000)
    plan = plan_epoch(sources, targets, batch_tokens=batch_tokens, seed=1, epoch=0, few_shapes=True)
    update = GraphedUpdate(cuda.recorded(lambda batch, tokens: torch.zeros(3)), META)
    for rows in plan:
        longest = [-8 * (-(int(lengths[rows].max()) + 1) // 8) for lengths in (sources, targets)]
        assert len(rows) * max(longest) <= batch_tokens
        source, target = (torch.empty(len(rows), length, device="meta") for length in longest)
        update(Batch(source, source, target, target, target, target), 1)
    # Of the launches, the first one of each graph comes with a capture.
    assert update.launches - update.captures >= 0.9 * len(plan)
    assert update.captures <= MAX_GRAPHS


def test_batches_of_few_shapes_have_rounded_rows() -> None:
    sources, targets = _wmt_like_lengths(20_000)
    plan = plan_epoch(sources, targets, batch_tokens=1000, seed=1, epoch=0, few_shapes=True)
    assert np.array_equal(np.sort(np.concatenate(plan)), np.arange(20_000))
    rows = Counter(map(len, plan))
    odd = {n: count for n, count in rows.items() if n % 16 and n & (n - 1)}
    assert sum(odd.values()) <= 1, "only the last batch of all has another number"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": CPU}, "graph requires a GPU; use auto"),
        ({"ranks": 2}, "graph does not support several processes; use auto"),
        ({"accumulate": 2}, "graph does not support accumulate"),
        ({"deterministic": True}, "graph does not support deterministic"),
        ({"optimizer": "rmsprop"}, "graph requires the optimizer adam, adamw or sgd"),
        ({"optimizer": "adagrad"}, "graph requires the optimizer adam, adamw or sgd"),
    ],
)
def test_unsupported_setups_are_refused(changes: dict[str, Any], message: str) -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    given: dict[str, Any] = {
        "device": torch.device("cuda"),
        "optimizer": "adam",
        "accumulate": 1,
        "ranks": 1,
        "deterministic": False,
    } | changes
    optimizer = OPTIMIZERS.build(ComponentConfig(given.pop("optimizer"), {}), [parameter])
    device = given.pop("device")
    with pytest.raises(OptionError, match=message):
        check_graph_support(device, optimizer, **given)


def test_graph_on_a_cpu_is_refused_with_its_line(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    config = write_experiment(tmp_path / "graph.yaml", quick(experiment, recurrence="graph"))
    complaint = nmt_train(config, "--run", tmp_path / "run", "--check").complaint
    assert "training.recurrence: graph requires a GPU; use auto" in complaint


def test_branches_wait_for_each_other(cuda: CudaGraphs) -> None:
    current = cuda.streams[0]
    branch: Any = streams()[1]
    ran: list[Any] = []

    def note(name: str) -> str:
        ran.append((name, torch.cuda.current_stream(), list(branch.waited), list(current.waited)))
        return name

    with parallel_branches(branch):
        results = run_branches(lambda: note("first"), lambda: note("second"), None)
    assert results == ("first", "second")
    assert ran == [("second", branch, [current], []), ("first", current, [current], [])]
    assert current.waited == [branch]
    ran.clear()
    run_branches(lambda: note("first"), lambda: note("second"), None)
    assert [entry[:2] for entry in ran] == [("first", current), ("second", current)]
