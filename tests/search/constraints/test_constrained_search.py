"""Constrained beam search compared with exhaustive search over a table."""

from typing import Any

import pytest
import torch

from nmt.model.interfaces import Prediction
from nmt.search.beam import extend_beam, start_beam
from nmt.search.constraints.compiler import collate_constraints
from nmt.search.constraints.request import NO_CONSTRAINTS, Constraints
from nmt.search.scoring import AverageLengthPenalty, GnmtCoveragePenalty, GnmtLengthPenalty
from tests.meta import META, make_ready
from tests.search.searching import NO_COVERAGE, NONE, assert_same, search
from tests.search.tables import TOKENS, String, Table, average, every_string, gnmt, unpenalized

from .lettered import compiler, constrained_search, satisfies, text_of

SCORINGS: dict[str, Any] = {
    "none": (NONE, NO_COVERAGE, unpenalized),
    "average": (AverageLengthPenalty(), NO_COVERAGE, average(1.0)),
    "gnmt": (GnmtLengthPenalty(alpha=0.8), GnmtCoveragePenalty(), gnmt(0.8, 0.2)),
}
CONSTRAINTS = {
    "prefix": Constraints("ab b"),
    "part of a word as prefix": Constraints("b a"),
    "complete word as prefix": Constraints("a "),
    "term of a token": Constraints(terms=("b",)),
    "term of two tokens": Constraints(terms=("ab",)),
    "term twice": Constraints(terms=("b", "b")),
    # Every third sentence may be longer. Nearly out of room, terms that overlap are not expected.
    "overlapping terms": Constraints(terms=("a b", "b a")),
    "two terms": Constraints(terms=("ab", "b")),
    "term of two words": Constraints(terms=("a b",)),
    "forbidden word": Constraints(forbid=("b",)),
    "forbidden words": Constraints(forbid=("ab", "b b")),
    "term and forbidden word": Constraints(terms=("ab",), forbid=("a",)),
    "prefix and term": Constraints("b", terms=("b",)),
    "all": Constraints("b", terms=("a b",), forbid=("bb",)),
    "none": NO_CONSTRAINTS,
}


def best_strings(
    table: Table, sentence: int, max_length: int, n_best: int, score: Any, constraints: Constraints
) -> list[String]:
    strings = every_string(table, sentence, max_length)
    fitting = [one for one in strings if satisfies(one.tokens, constraints)]
    return sorted(fitting, key=lambda one: (not one.finished, -score(one)))[:n_best]


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("seed", range(2))
def test_wide_constrained_beam_equals_exhaustive_search(scoring: str, seed: int) -> None:
    length_penalty, coverage_penalty, score = SCORINGS[scoring]
    constraints = list(CONSTRAINTS.values())
    table, max_lengths = Table(len(constraints), seed), [5, 4, 3] * 5
    found = constrained_search(
        table,
        constraints,
        max_lengths,
        beam_size=250,
        n_best=12,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
    )
    for sentence, own in enumerate(constraints):
        expected = best_strings(table, sentence, max_lengths[sentence], 12, score, own)
        assert_same(found[sentence], expected, score)


@pytest.mark.parametrize("beam_size", [2, 3, 5])
def test_narrow_beam_satisfies_all_constraints(beam_size: int) -> None:
    constraints = list(CONSTRAINTS.values()) * 4
    table = Table(len(constraints), beam_size, sharpness=3.0)
    lengths = [(8, 12)[i % 2] for i in range(len(constraints))]
    found = constrained_search(table, constraints, lengths, beam_size=beam_size, n_best=beam_size)
    for own, hypotheses in zip(constraints, found, strict=True):
        assert hypotheses
        for one in hypotheses:
            assert satisfies(one.tokens, own), (own, text_of(one.tokens))


@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_results_depend_on_no_other_sentence(beam_size: int) -> None:
    constraints = [c for c in CONSTRAINTS.values() if beam_size > 1 or not c.terms]
    table = Table(len(constraints), 3)
    lengths = [6 + i % 4 for i in range(len(constraints))]
    options: Any = {"beam_size": beam_size, "n_best": 2 if beam_size > 1 else 1}
    together = constrained_search(table, constraints, lengths, **options)
    for sentence, own in enumerate(constraints):
        (alone,) = constrained_search(
            table, [own], [lengths[sentence]], order=[sentence], **options
        )
        without = [one._replace(weights_ts=None) for one in alone]
        assert [one._replace(weights_ts=None) for one in together[sentence]] == without
    (plain,) = search(table, order=[len(constraints) - 1], max_lengths_b=lengths[-1:], **options)
    assert [one.tokens for one in plain] == [one.tokens for one in together[-1]]
    assert [one.score for one in plain] == [one.score for one in together[-1]]


@torch.inference_mode()
def test_constrained_step_reads_no_value_from_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    make_ready(monkeypatch)
    own, lengths = compiler(), [3, 2]
    constraints = [Constraints("a b ", ("b",), ("bb",)), NO_CONSTRAINTS]
    compiled = [own.compile(own.resolve(one)) for one in constraints]
    state = collate_constraints(compiled, lengths, own, META)
    active = start_beam(torch.ones(2, 1, device=META).bool(), 3, bos=0, keep_prefixes=False)
    active = active._replace(constraints=state.expand(3))
    prediction = Prediction(torch.zeros(6, TOKENS, device=META), None, ())
    for length in (1, 2, 3):
        extension = extend_beam(
            active,
            prediction,
            eos=1,
            keeps_coverage=False,
            block_ngram=0,
            length=length,
        )
        active = extension.beam
    assert active.tokens_bk.device.type == "meta"


def test_terms_are_spelled_even_if_only_the_shortest_translation_has_room() -> None:
    constraints = [Constraints(terms=("ab", "bb", "a"))] * 20
    table = Table(20, 1, sharpness=6.0)
    for hypotheses in constrained_search(table, constraints, [5] * 20, beam_size=2):
        assert satisfies(hypotheses[0].tokens, constraints[0])


def test_term_whose_first_token_is_a_space_is_spelled_near_the_maximum_length() -> None:
    texts: list[str | bytes] = [" ", "", "b", " a"]
    constraints = [Constraints("a ", terms=("b",))] * 4
    found = constrained_search(Table(4, 2), constraints, [3] * 4, beam_size=2, texts=texts)
    assert [text_of(one.tokens, texts) for (one,) in found] == ["a b"] * 4


def test_term_within_another_term_occurs_at_least_once() -> None:
    constraints = [Constraints(terms=("b", "a b"))] * 20
    for (one,) in constrained_search(Table(20, 5), constraints, [8] * 20, beam_size=3):
        assert satisfies(one.tokens, Constraints(terms=("a b",)))
