"""Ensembles compared with averaged tables and with their models."""

import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.search.beam import beam_search
from nmt.search.ensemble import ensemble
from nmt.search.hypothesis import Hypothesis
from nmt.search.scoring import AverageLengthPenalty, GnmtCoveragePenalty
from nmt.search.step import Step
from nmt.search.translator import Translator
from tests.commands import forget_inputs

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


def search_ensemble(tables: list[Table], steps: Sequence[Step]) -> list[list[Hypothesis]]:
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


def test_ensemble_of_equal_tables_equals_one_table() -> None:
    table = Table(SENTENCES, 3)
    assert_equal(
        search_ensemble([table, table], [table.step, table.step]),
        search(table.step, *table.start()),
    )


def test_ensemble_averages_probabilities_and_weights() -> None:
    tables = [Table(SENTENCES, seed) for seed in (1, 2, 3)]
    mean = averaged(tables)
    assert_equal(
        search_ensemble(tables, [table.step for table in tables]), search(mean.step, *mean.start())
    )


def test_weights_are_averaged_over_the_models_with_attention() -> None:
    tables = [Table(SENTENCES, seed) for seed in (1, 2, 3)]
    mean = averaged(tables)
    mean.weights = averaged(tables[:2]).weights
    steps = [tables[0].step, tables[1].step, tables[2].step_without_attention]
    assert_equal(search_ensemble(tables, steps), search(mean.step, *mean.start()))


def test_ensemble_of_models_without_attention_has_none() -> None:
    table = Table(1, 3)
    memory, state = table.start()
    step = ensemble([table.step_without_attention, table.step_without_attention])
    prediction = step(torch.tensor([BOS]), (memory, memory), (state, state))
    assert prediction.weights_ns is None


def test_ensemble_of_a_model_with_itself_equals_the_model(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    twice = Translator.load(trained, trained)
    for one, two in zip(
        translator.translate(sources[:20]), twice.translate(sources[:20]), strict=True
    ):
        assert one.text == two.text
        assert one.score == pytest.approx(two.score, abs=1e-5)


def test_token_scores_of_an_ensemble_are_mean_probabilities(
    trained: Path, second: Path, translator: Translator, sources: list[str]
) -> None:
    both = Translator.load(trained, second)
    other = Translator.load(second)
    targets = [t.text for t in both.translate(sources[:10])]
    parts = zip(
        *(one.score(sources[:10], targets) for one in (both, translator, other)), strict=True
    )
    for joint, one, two in parts:
        pairs = zip(one.piece_scores, two.piece_scores, strict=True)
        mean = [float(torch.tensor(p).double().exp().mean().log()) for p in pairs]
        assert list(joint.piece_scores) == pytest.approx(mean, abs=1e-5)
        assert joint.attention is not None
        weights = [t.attention for t in (one, two) if t.attention is not None]
        torch.testing.assert_close(joint.attention, torch.stack(weights).mean(0))


def test_runs_with_different_vocabularies_raise(
    trained: Path, second: Path, tmp_path: Path
) -> None:
    shutil.copytree(second, tmp_path / "other", symlinks=True)
    lines = ["Ein Mann", "a man", "Das Haus", "the house"] * 3
    Vocabulary.train(lines, size=20, type="char").save(
        tmp_path / "other" / "vocabulary" / "joint.model"
    )
    forget_inputs(tmp_path / "other")
    with pytest.raises(UserError, match="another"):
        Translator.load(trained, tmp_path / "other")
