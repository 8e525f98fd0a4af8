"""The tree of the beam, compared with a search that keeps every hypothesis of every step."""

import math
import pickle
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from nmt.errors import UserError
from nmt.search import beam
from nmt.search.beam_tree import BeamTree
from nmt.search.graphed_steps import GraphedSteps
from nmt.search.hypothesis import Hypothesis
from nmt.search.scoring import AverageLengthPenalty, GnmtCoveragePenalty
from nmt.search.translation import Translation
from nmt.search.translator import Translator
from tests.cuda_graphs import simulate_search
from tests.lagging_copy import lagging_copy

from .searching import search
from .tables import EMPTY, EOS, TOKENS, String, Table, average
from .test_target_order import make

MAX_LENGTHS = [9, 7, 1, 2, 12, 5, 9, 3]
TEXTS = ["z", "y y z x", "x x", "z y x"]


class Kept(NamedTuple):
    """A hypothesis of the beam, from the oracle."""

    step: int
    log_probs: tuple[float, ...]
    score: float
    state: str


def reference_tree(
    table: Table, sentence: int, max_length: int, n_best: int, beam_size: int, alpha: float
) -> dict[tuple[int, ...], Kept]:
    """Search one sentence by the definition, and return what the beam held, by tokens."""
    score = average(alpha)
    active, finished, steps = [EMPTY], list[String](), list[list[String]]()
    while len(steps) < max_length:
        strings = [table.extend(sentence, one, token) for one in active for token in range(TOKENS)]
        strings = sorted(strings, key=lambda one: -one.log_prob)[: 2 * beam_size]
        ends = [one for one in strings[:beam_size] if one.finished]
        active = [one for one in strings if not one.finished][:beam_size]
        finished += ends
        if beam_size == 1 and ends:
            steps.append(ends)
            break
        steps.append([one for one in strings if one in ends or one in active])
        best = sorted(map(score, finished), reverse=True)[:n_best]
        if len(best) == n_best and best[-1] >= active[0].log_prob / max_length**alpha:
            break
    kept = {}
    for number, strings in enumerate(steps):
        is_last = number == len(steps) - 1
        prefixes = [] if is_last else [one.tokens[:-1] for one in steps[number + 1]]
        for one in strings:
            state = "pruned"
            if one.finished:
                state = "finished"
            elif is_last:
                state = "active"
            elif one.tokens in prefixes:
                state = "extended"
            kept[one.tokens] = Kept(number + 1, one.log_probs, score(one), state)
    return kept


def tree_of(hypotheses: list[Hypothesis]) -> BeamTree:
    (tree,) = {id(one.leaf.tree): one.leaf.tree for one in hypotheses if one.leaf}.values()
    return tree


def tokens_of(tree: BeamTree, number: int) -> tuple[int, ...]:
    return tuple(tree.nodes[one].token for one in tree.path(number))


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (2, 1), (2, 2), (3, 5), (5, 3), (30, 7)])
def test_tree_holds_every_hypothesis_that_was_in_the_beam(
    beam_size: int, n_best: int, alpha: float
) -> None:
    table = Table(8, 3 + beam_size)
    found = search(
        table,
        beam_size=beam_size,
        n_best=n_best,
        max_lengths_b=MAX_LENGTHS,
        length_penalty=AverageLengthPenalty(alpha=alpha),
        records_tree=True,
    )
    states = set[str]()
    for sentence, max_length in enumerate(MAX_LENGTHS):
        tree = tree_of(found[sentence])
        expected = reference_tree(table, sentence, max_length, n_best, beam_size, alpha)
        assert len(tree.nodes) == len(expected)
        # In the order of the steps, and of the log-probabilities within a step.
        assert [tokens_of(tree, number) for number in range(len(tree.nodes))] == [*expected]
        for node, kept in zip(tree.nodes, expected.values(), strict=True):
            assert (node.step, node.state) == (kept.step, kept.state)
            assert node.token_log_prob == pytest.approx(kept.log_probs[-1], rel=1e-9)
            assert node.log_prob == pytest.approx(sum(kept.log_probs), rel=1e-9)
            assert node.score == pytest.approx(kept.score, rel=1e-6)
            states.add(node.state)
    greedy = {"extended", "finished", "active"}
    assert states == (greedy if beam_size == 1 else greedy | {"pruned"})
    # The sentences end at different steps.
    assert len({tree_of(one).nodes[-1].step for one in found}) > 3


def _collapsed(tokens: list[int]) -> str:
    return "".join({0: " ", 2: "a", 3: "a"}[token] for token in tokens)


@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (3, 2), (5, 9)])
@pytest.mark.parametrize("detokenize", [None, _collapsed])
def test_recorded_search_has_the_same_results_which_are_paths_of_the_tree(
    beam_size: int, n_best: int, detokenize: Any
) -> None:
    table = Table(8, 5)
    options: Any = {
        "beam_size": beam_size,
        "n_best": n_best,
        "max_lengths_b": MAX_LENGTHS,
        "coverage_penalty": GnmtCoveragePenalty(),
        "detokenize": detokenize,
    }
    plain = search(table, **options)
    recorded = search(table, records_tree=True, **options)
    for one, other in zip(chain(*plain), chain(*recorded), strict=True):
        assert one.leaf is None and other.leaf is not None
        assert one._replace(weights_ts=None) == other._replace(weights_ts=None, leaf=None)
        assert one.weights_ts is not None and other.weights_ts is not None
        assert one.weights_ts.equal(other.weights_ts)
        tree, number = other.leaf
        node = tree.nodes[number]
        assert tokens_of(tree, number) == tuple(other.tokens)
        assert (node.score, node.log_prob) == (other.score, other.log_prob)
        assert [tree.nodes[i].token_log_prob for i in tree.path(number)] == other.token_log_probs
        assert (node.state == "finished") == other.finished
    assert any(not one.finished for one in chain(*recorded))


def test_impossible_continuations_are_no_nodes() -> None:
    table = Table(1, 2)
    for row in (row for rows in table.log_probs[0] for row in rows):
        row[:] = [-math.inf, math.log(0.5), math.log(0.5), -math.inf]
    (found,) = search(table, beam_size=6, max_lengths_b=[3], n_best=9, records_tree=True)
    tree = tree_of(found)
    assert [tokens_of(tree, number) for number in range(len(tree.nodes))] == [
        *[(1,), (2,)],
        *[(2, 1), (2, 2)],
        *[(2, 2, 1), (2, 2, 2)],
    ]


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (3, 2)])
def test_lag_of_the_host_changes_no_tree(
    lag: int, beam_size: int, n_best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: Any = {"beam_size": beam_size, "n_best": n_best, "max_lengths_b": MAX_LENGTHS}
    table = Table(8, 5)
    immediate = search(table, records_tree=True, **options)
    monkeypatch.setattr(beam, "AsyncHostCopy", lagging_copy(lag))
    late = search(table, records_tree=True, **options)
    assert [tree_of(one) for one in late] == [tree_of(one) for one in immediate]


def test_steps_by_cuda_graphs_give_the_same_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    options: Any = {"beam_size": 3, "max_lengths_b": MAX_LENGTHS, "records_tree": True}
    table = Table(8, 5)
    plain = search(table, **options)
    simulate_search(monkeypatch)
    steps = GraphedSteps(table.step, EOS, torch.device("cpu"))
    for _ in range(3):
        graphed = search(table, graphs=steps, **options)
        assert [tree_of(one) for one in graphed] == [tree_of(one) for one in plain]
    assert steps.graphs.launches > 0


def text_of(tree: BeamTree, number: int) -> list[str]:
    pieces = [tree.nodes[one].piece for one in tree.path(number) if tree.nodes[one].piece != "</s>"]
    return pieces[::-1] if tree.right_to_left else pieces


@pytest.mark.parametrize(
    ("options", "right_to_left"),
    [
        ({}, False),
        ({"beam_size": 1}, False),
        ({"beam_size": 1}, True),
        ({"n_best": 3}, False),
        ({"n_best": 3}, True),
        ({"mbr": "chrf", "n_best": 2}, False),
        ({"terms": ["b"], "n_best": 2}, False),
    ],
)
def test_translation_has_the_tree_with_the_paths_of_the_n_best(
    options: dict[str, Any], right_to_left: bool
) -> None:
    translator = make(1, right_to_left=right_to_left)
    plain = translator.translate(TEXTS, max_length=5, **options)
    found = translator.translate(TEXTS, max_length=5, beam_tree=True, **options)
    for one, other in zip(plain, found, strict=True):
        assert one.beam_tree is None and other.beam_tree is not None
        assert (one.text, one.score, one.piece_scores) == (
            other.text,
            other.score,
            other.piece_scores,
        )
        tree = other.beam_tree
        assert tree.right_to_left == right_to_left
        paths = [text_of(tree, number) for number in tree.n_best]
        assert paths == [list(best.pieces) for best in other.n_best]
        assert all(best.beam_tree is None for best in other.n_best)
        assert pickle.loads(pickle.dumps(other)).beam_tree == tree


def test_reranking_orders_the_paths_of_the_n_best() -> None:
    translator = make(1)
    translator.add_reranker(make(2, right_to_left=True), 3.0)
    found = translator.translate(TEXTS, max_length=5, n_best=4, beam_tree=True)
    orders = set[bool]()
    for one in found:
        assert one.beam_tree is not None
        paths = [text_of(one.beam_tree, number) for number in one.beam_tree.n_best]
        assert paths == [list(best.pieces) for best in one.n_best]
        scores = [one.beam_tree.nodes[number].score for number in one.beam_tree.n_best]
        orders.add(scores == sorted(scores, reverse=True))
    assert False in orders, "the test requires a sentence whose best translation changes"


def test_ensemble_has_a_tree(trained: Path, second: Path, sources: list[str]) -> None:
    (found,) = Translator.load(trained, second).translate(sources[0], beam_tree=True)
    assert found.beam_tree is not None
    assert text_of(found.beam_tree, found.beam_tree.n_best[0]) == list(found.pieces)


def test_plain_data_has_a_list_per_attribute() -> None:
    (found,) = make(1).translate("y y z x", max_length=3, beam_size=2, beam_tree=True)
    tree = found.beam_tree
    assert tree is not None
    data: Any = found.to_dict()["beam_tree"]
    names = ("pieces", "steps", "parents", "states")
    assert [*zip(*(data[name] for name in names), strict=True)] == [
        (node.piece, node.step, node.parent, node.state) for node in tree.nodes
    ]
    assert data["scores"] == [round(node.score, 4) for node in tree.nodes]
    assert data["log_probs"] == [round(node.log_prob, 4) for node in tree.nodes]
    assert data["piece_scores"] == [round(node.token_log_prob, 4) for node in tree.nodes]
    assert (data["n_best"], data["right_to_left"]) == (list(tree.n_best), False)
    assert "beam_tree" not in Translation("").to_dict()


def test_tree_requires_beam_search(translator: Translator, sources: list[str]) -> None:
    with pytest.raises(UserError, match="beam_tree: has no effect with sampling; remove one"):
        translator.translate(sources[:1], beam_tree=True, sampling={})
    assert translator.translate("", beam_tree=True)[0].beam_tree is None
    (scored,) = translator.score(sources[:1], ["Good morning!"])
    assert scored.beam_tree is None
