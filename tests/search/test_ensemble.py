"""Ensembles against tables averaged by hand."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch

from nmt.search.beam import beam_search
from nmt.search.ensemble import ensemble
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import AverageLengthPenalty, GnmtCoveragePenalty
from nmt.search.step import Step

from .tables import BOS, EOS, Table

SENTENCES = 5


def search(step: Step, memory: Any, state: Any) -> list[list[Hypothesis]]:
    return beam_search(
        step,
        memory,
        state,
        bos=BOS,
        eos=EOS,
        beam_size=3,
        n_best=2,
        max_lengths_b=[6, 2, 8, 4, 1],
        length_penalty=AverageLengthPenalty(),
        coverage_penalty=GnmtCoveragePenalty(),
    )


def together(tables: list[Table], steps: Sequence[Step]) -> list[list[Hypothesis]]:
    memories, states = zip(*(table.start() for table in tables), strict=True)
    return search(ensemble(steps), memories, states)


def assert_equal(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.tokens == other.tokens
        assert one.score == pytest.approx(other.score, rel=1e-5)
        torch.testing.assert_close(one.weights_ts, other.weights_ts)


def averaged(tables: list[Table]) -> Table:
    table = Table(SENTENCES, 0)
    shares = [np.exp(np.array(one.log_probs)) for one in tables]
    table.log_probs = np.log(np.mean(shares, axis=0)).tolist()
    table.weights = np.mean([one.weights for one in tables], axis=0).tolist()
    return table


def test_twins_say_what_one_says() -> None:
    table = Table(SENTENCES, 3)
    assert_equal(
        together([table, table], [table.step, table.step]), search(table.step, *table.start())
    )


def test_three_models_are_the_mean_of_their_probabilities_and_weights() -> None:
    tables = [Table(SENTENCES, seed) for seed in (1, 2, 3)]
    mean = averaged(tables)
    assert_equal(
        together(tables, [table.step for table in tables]), search(mean.step, *mean.start())
    )


def test_weights_are_the_mean_over_the_models_that_attend() -> None:
    tables = [Table(SENTENCES, seed) for seed in (1, 2, 3)]
    mean = averaged(tables)
    mean.weights = averaged(tables[:2]).weights
    steps = [tables[0].step, tables[1].step, tables[2].blind_step]
    assert_equal(together(tables, steps), search(mean.step, *mean.start()))


def test_models_that_do_not_attend_make_an_ensemble_that_does_not() -> None:
    table = Table(1, 3)
    memory, state = table.start()
    step = ensemble([table.blind_step, table.blind_step])
    prediction = step(torch.tensor([BOS]), (memory, memory), (state, state))
    assert prediction.weights_ns is None
