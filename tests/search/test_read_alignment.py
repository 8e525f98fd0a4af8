"""Weights that align tokens, from the steps that have read them, in every kind of search."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
import torch

from nmt.search.beam import beam_search
from nmt.search.ensemble import ensemble
from nmt.search.hypothesis import Hypothesis
from nmt.search.intervention import (
    IntervenedMemory,
    Intervention,
    collate_interventions,
    intervening,
)
from nmt.search.step import Step
from nmt.search.stepwise import force_decode, sample
from nmt.search.target_order import in_text_order

from .searching import NO_COVERAGE, NONE
from .tables import BOS, EOS, Table

LENGTHS = [6, 2, 8, 4, 1]
MARKS: Any = {"bos": BOS, "eos": EOS}


def _search(step: Step, memory: Any, state: Any, beam_size: int) -> list[Hypothesis]:
    options: dict[str, Any] = {"n_best": min(2, beam_size), "beam_size": beam_size}
    options |= {"length_penalty": NONE, "coverage_penalty": NO_COVERAGE}
    found = beam_search(step, memory, state, bos=BOS, eos=EOS, max_lengths_b=LENGTHS, **options)
    return [*chain(*found)]


def _assert_aligned(found: Sequence[Hypothesis]) -> None:
    """Row t is that of step t + 1 of the same hypothesis, which has read token t."""
    assert {one.finished for one in found} == {True, False}
    for one in found:
        assert one.weights_ts is not None and one.alignment_ts is not None
        assert torch.equal(one.alignment_ts[:-1], one.weights_ts[1:])
        assert len(one.alignment_ts) == len(one.tokens)
        assert not one.alignment_ts[-1].any()


@pytest.mark.parametrize("beam_size", [1, 3])
def test_hypotheses_of_beam_search_have_the_rows_of_their_own_steps(beam_size: int) -> None:
    table = Table(5, 3)
    _assert_aligned(_search(table.step_with_alignment, *table.start(), beam_size))
    plain = _search(table.step, *table.start(), beam_size)
    assert all(one.alignment_ts is None for one in plain)


def test_samples_and_given_targets_have_the_rows_of_their_own_steps() -> None:
    table = Table(5, 3)
    step = table.step_with_alignment
    drawn = sample(step, *table.start(), **MARKS, max_lengths_b=LENGTHS, seeds_b=range(5))
    targets = [one.content for one in drawn]
    forced = force_decode(step, *table.start(), targets, **MARKS)
    _assert_aligned([*drawn, *forced])
    # The last word of a given target is read before </s> is predicted.
    for one, target in zip(forced, targets, strict=True):
        assert one.alignment_ts is not None
        assert one.alignment_ts[: len(target)].sum(1).tolist() == pytest.approx([1] * len(target))


def test_padding_has_no_columns() -> None:
    table, mask_bs = Table(2, 3), torch.tensor([[True, True, True], [True, True, False]])
    step = table.step_with_alignment
    targets = [[2, 3], [0]]
    found = force_decode(step, *table.start(), targets, **MARKS, source_mask_bs=mask_bs)
    assert [tuple(one.alignment_ts.shape) for one in found if one.alignment_ts is not None] == [
        (3, 3),
        (2, 2),
    ]


def test_ensemble_averages_over_the_models_that_align() -> None:
    tables = [Table(5, seed) for seed in (1, 2, 3)]
    memories, states = zip(*(table.start() for table in tables), strict=True)
    steps = [tables[0].step_with_alignment, tables[1].step, tables[2].step_with_alignment]
    tokens_n = torch.full((5,), BOS)

    def aligned(attending: list[bool] | None) -> Any:
        return ensemble(steps, attending)(tokens_n, memories, states).alignment_ns

    own = [
        table.step(tokens_n, *one).weights_ns
        for table, *one in zip(tables, memories, states, strict=True)
    ]
    assert own[0] is not None and own[2] is not None
    torch.testing.assert_close(aligned(None), (own[0] + own[2]) / 2)
    # Weights over other source positions do not count.
    torch.testing.assert_close(aligned([True, True, False]), own[0])
    assert aligned([False, True, False]) is None


def test_alignments_of_steps_with_set_attention_are_those_of_the_model() -> None:
    table, mask_bs = Table(5, 3), torch.ones(5, 3, dtype=torch.bool)
    memory, state = table.start()
    given = [Intervention(attention={0: [0.0, 1.0, 0.0]})] * 5
    tables = collate_interventions(given, {}, mask_bs, LENGTHS[:1] * 5, [""] * 5)
    step = intervening(table.step_with_alignment, lambda memory, weights_bs, given_b: memory)
    tokens_n, first = torch.full((5,), BOS), torch.zeros(5, dtype=torch.long)
    found = step(tokens_n, IntervenedMemory(memory, tables), (first, state))
    own = table.step(tokens_n, memory, state)
    assert found.weights_ns is not None and found.weights_ns[:, 1].tolist() == [1.0] * 5
    torch.testing.assert_close(found.alignment_ns, own.weights_ns)


def test_text_order_reverses_the_words_and_leaves_the_end_last() -> None:
    alignment_ts = torch.tensor([[0.1], [0.2], [0.3], [0.0]])
    tokens = [5, 6, 7, EOS]
    one = Hypothesis(tokens, 0.0, 0.0, [], None, True, alignment_ts=alignment_ts)
    found = in_text_order(one)
    assert found.tokens == [7, 6, 5, EOS]
    assert found.alignment_ts is not None
    assert found.alignment_ts.flatten().tolist() == pytest.approx([0.3, 0.2, 0.1, 0.0])
