"""Search steps as CUDA graphs, which `tests.cuda_graphs` simulates, against plain search."""

import logging
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.config.schema import ModelConfig
from nmt.config.search_options import SearchOptions
from nmt.errors import UserError
from nmt.inference.saved_model import load_saved_model
from nmt.model.interfaces import Prediction, select_rows
from nmt.search import beam
from nmt.search.batch_planning import plan_batches
from nmt.search.graphed_steps import GraphedSteps, _Inputs, round_rows_down, round_rows_up
from nmt.search.hypothesis import Hypothesis
from nmt.search.scoring import AverageLengthPenalty, GnmtCoveragePenalty
from nmt.search.translator import Translator
from tests.cuda_graphs import CudaGraphs, simulate_search
from tests.meta import META, make_ready
from tests.model.small import build, every_part_once, text

from .searching import NO_COVERAGE, search
from .tables import EOS, Table

CPU = torch.device("cpu")
SIZES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
LENGTHS = [9, 7, 1, 2, 12, 5, 9, 3]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> CudaGraphs:
    for module in ("line_translator", "translator"):
        monkeypatch.setattr(f"nmt.search.{module}.check_recurrence", lambda *_: None)
    return simulate_search(monkeypatch)


def _assert_equal(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one._replace(weights_ts=None) == other._replace(weights_ts=None)
        assert (one.weights_ts is None) == (other.weights_ts is None)
        if one.weights_ts is not None and other.weights_ts is not None:
            assert one.weights_ts.equal(other.weights_ts)


def _search(table: Table, graphs: GraphedSteps | None = None, **options: Any) -> Any:
    given = {
        "beam_size": 3,
        "max_lengths_b": LENGTHS,
        "length_penalty": AverageLengthPenalty(),
        **options,
    }
    return search(table, graphs=graphs, **given)


@pytest.mark.parametrize("early_stopping", ["exact", "heuristic"])
@pytest.mark.parametrize("coverage", [NO_COVERAGE, GnmtCoveragePenalty()])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (3, 2)])
def test_search_by_graphs_equals_plain_search(
    early_stopping: str, coverage: Any, beam_size: int, n_best: int, cuda: CudaGraphs
) -> None:
    options = {
        "beam_size": beam_size,
        "n_best": n_best,
        "coverage_penalty": coverage,
        "early_stopping": early_stopping,
    }
    first, second = Table(8, 5), Table(8, 6)
    model = Table(8, 0)  # has the tables in its memory alone
    steps = GraphedSteps(model.step, EOS, CPU)
    for table in (first, second, first):
        _assert_equal(_search(table, steps, **options), _search(table, **options))
    assert 0 < steps.graphs.captures < steps.graphs.launches


def test_repeated_batches_run_by_graphs_alone(cuda: CudaGraphs) -> None:
    table = Table(8, 5)
    steps = GraphedSteps(table.step, EOS, CPU)
    for _ in range(3):
        _search(table, steps)
    graphs, before = steps.graphs, len(table.rows)
    captures, launches = graphs.captures, graphs.launches
    _search(table, steps)
    assert graphs.captures == captures
    # All but the first step, after which the table's float64 replaces float32.
    assert graphs.launches - launches == len(table.rows) - before - 1
    # All captures and first steps are on one stream.
    _, stream, _ = cuda.streams
    assert set(cuda.captured_on) == set(cuda.ran_on) == {stream}


def test_graphs_of_searches_with_and_without_coverage_differ(cuda: CudaGraphs) -> None:
    table = Table(8, 5, positions=1)  # so that all tensors have the same shapes
    steps = GraphedSteps(table.step, EOS, CPU)
    for coverage in (NO_COVERAGE, GnmtCoveragePenalty()) * 3:
        options: Any = {"coverage_penalty": coverage}
        _assert_equal(_search(table, steps, **options), _search(table, **options))


def test_batches_lose_rows_down_to_few_sizes(cuda: CudaGraphs) -> None:
    table = Table(23, 5)
    options: Any = {"beam_size": 1, "max_lengths_b": list(range(1, 24))}
    plain = _search(table, **options)
    all_sizes = set(table.rows)
    table.rows.clear()
    steps = GraphedSteps(table.step, EOS, CPU)
    _assert_equal(_search(table, steps, **options), plain)
    assert set(table.rows) <= {23, *SIZES}
    assert not all_sizes <= {23, *SIZES}, "the sentences are done one by one"


def test_failed_capture_is_one_warning_and_search_goes_on(
    cuda: CudaGraphs, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(8, 5)
    steps = GraphedSteps(table.step, EOS, CPU)
    _search(table, steps)
    cuda.failure = RuntimeError("CUDA error: operation not permitted\nmore")
    other = Table(5, 6)
    with caplog.at_level(logging.WARNING, "nmt"):
        for one in (other, table, other):
            lengths = LENGTHS[: len(one.log_probs)]
            found, expected = (
                _search(one, graphs, max_lengths_b=lengths) for graphs in (steps, None)
            )
            _assert_equal(found, expected)
    (record,) = caplog.records
    assert record.message == (
        "a search step cannot be captured as a CUDA graph, and translation continues without "
        "graphs; use recurrence auto to avoid the attempt (CUDA error: operation not permitted)"
    )
    assert all(graph.is_reset for graph in cuda.graphs)


def test_growing_state_is_one_warning_and_search_goes_on(
    cuda: CudaGraphs, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(8, 5)

    def step(tokens_n: Tensor, memory: Any, state: Any) -> Prediction:
        """Keep all tokens, as a Transformer keeps the keys of all positions."""
        prediction = table.step(tokens_n, memory, state)
        cache = torch.cat([state["nothing"], tokens_n[:, None]], dim=1)
        return prediction._replace(state={"before": tokens_n, "nothing": cache})

    start = table.start

    def start_with_cache(order: Any = None) -> Any:
        memory, state = start(order)
        return memory, {**state, "nothing": torch.zeros(len(state["before"]), 0, dtype=torch.long)}

    expected = _search(table)
    table.start = start_with_cache  # type: ignore[method-assign]
    steps = GraphedSteps(step, EOS, CPU)
    with caplog.at_level(logging.WARNING, "nmt"):
        for _ in range(3):
            _assert_equal(_search(table, steps, step=step), expected)
    (record,) = caplog.records
    assert record.message.endswith("(the state of the decoder grows with every step)")
    assert steps.graphs.captures == 0


@pytest.mark.parametrize(
    ("options", "models"),
    [({"n_best": 3, "coverage_penalty": "gnmt"}, 1), ({"beam_size": 1}, 2)],
)
def test_translator_with_graphs_equals_the_plain_one(
    options: dict[str, Any],
    models: int,
    cuda: CudaGraphs,
    sources: list[str],
    trained: Any,
) -> None:
    saved = load_saved_model(trained)
    plain, graphed = (
        Translator(
            [saved.model] * models,
            saved.source,
            saved.target_vocabulary,
            saved.experiment.search.updated({"max_length": 8, "batch_tokens": 80, **options}),
            device=CPU,
            recurrence=recurrence,
        )
        for recurrence in ("auto", "graph")
    )
    expected = plain.translate(sources[:12])
    for _ in range(2):
        for one, other in zip(graphed.translate(sources[:12]), expected, strict=True):
            assert [t.text for t in one.n_best] == [t.text for t in other.n_best]
            assert one.piece_scores == other.piece_scores
            assert one.attention is not None and other.attention is not None
            assert one.attention.equal(other.attention)
            # The penalty of a sentence is summed over its padding as well.
            assert one.score == pytest.approx(other.score, rel=1e-12)
    assert graphed._encoder.graphs is not None
    assert graphed._encoder.graphs.graphs.launches > 10
    with pytest.raises(UserError, match="block_ngram_repeat is not possible with recurrence graph"):
        graphed.translate(sources[:1], block_ngram_repeat=2)


def test_sentences_are_padded_to_few_lengths(cuda: CudaGraphs, trained: Any) -> None:
    reader = Translator.load(trained, recurrence="graph").reader
    (ids,) = reader.encode(["Guten Morgen!"])
    source, mask_bs = reader.batch(["Guten Morgen!"], [ids], [""])
    assert isinstance(source, Tensor)
    assert source.shape == mask_bs.shape == (1, -8 * (-(len(ids) + 1) // 8))
    assert mask_bs.sum() == len(ids) + 1


@pytest.mark.parametrize("model", every_part_once())
@torch.inference_mode()
def test_step_of_every_model_reads_no_value_and_keeps_its_shapes(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(monkeypatch)
    inputs, built = text(), build(model, torch.float32).to(META)
    mask_bs = inputs.source_mask_bs.to(META)
    memory, state = built.start(inputs.source_bs.to(META), mask_bs)
    state = select_rows(state, torch.arange(3, device=META).repeat_interleave(4))
    active = beam.start_beam(mask_bs, 4, bos=0, keep_prefixes=False)
    steps: Any = SimpleNamespace(_step=built.step, _eos=1)
    extension = GraphedSteps._compute(steps, _Inputs(active, state, memory, False))
    can_be_captured = extension.parent_bk is None
    assert can_be_captured == (model.decoder.type not in ("transformer", "lstmn"))


def test_rows_are_rounded_to_few_numbers() -> None:
    numbers = range(1, 33)
    assert [round_rows_up(n) for n in numbers] == [
        next(size for size in SIZES if size >= n) for n in numbers
    ]
    assert [round_rows_down(n) for n in numbers] == [
        max(size for size in SIZES if size <= n) for n in numbers
    ]


def test_batches_of_few_shapes_have_rounded_rows() -> None:
    lengths = [1 + (7 * number) % 61 for number in range(500)]
    options = SearchOptions(batch_tokens=400, batch_sentences=30)
    plan = list(plan_batches(lengths, options, torch.device("cuda"), few_shapes=True))
    assert sorted(chain(*plan)) == list(range(500))
    assert all(len(rows) in SIZES for rows in plan[:-1])
    for rows in plan:
        padded = -8 * (-(max(lengths[row] for row in rows) + 1) // 8)
        assert len(rows) * padded <= 400 or len(rows) == 1


def test_unsupported_recurrence_is_refused_before_a_run_is_read() -> None:
    with pytest.raises(UserError, match="recurrence 'fused' must be one of auto, graph"):
        Translator.load("none", recurrence="fused")
    with pytest.raises(UserError, match="recurrence graph requires a GPU; use auto"):
        Translator.load("none", device="cpu", recurrence="graph")
