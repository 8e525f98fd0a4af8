"""Ensembles compared with averaged tables and with their models."""

import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.errors import UserError
from nmt.search.beam import beam_search
from nmt.search.ensemble import ensemble
from nmt.search.hypothesis import Hypothesis
from nmt.search.scoring import AverageLengthPenalty, GnmtCoveragePenalty
from nmt.search.step import Step
from nmt.search.translator import Translator
from tests.commands import PHRASES, forget_inputs, lines_of, nmt_train, write_experiment
from tests.conftest import tiny_experiment
from tests.training.conftest import quick

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


def test_runs_with_different_target_vocabularies_raise(
    trained: Path, second: Path, tmp_path: Path
) -> None:
    shutil.copytree(second, tmp_path / "other", symlinks=True)
    lines = [line for side in ("de", "en") for line in lines_of(PHRASES.with_suffix(f".{side}"))]
    SentencePieceVocabulary.train(lines, size=180, type="bpe").save(
        tmp_path / "other" / "vocabulary" / "joint.model"
    )
    forget_inputs(tmp_path / "other")
    with pytest.raises(UserError, match=r"other: has another target vocabulary than .*; give"):
        Translator.load(trained, tmp_path / "other")


@pytest.fixture(scope="module")
def two_segmentations(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs with different source vocabularies and the same target vocabulary."""
    folder = tmp_path_factory.mktemp("segmentations")
    text = {side: lines_of(PHRASES.with_suffix(f".{side}")) for side in ("de", "en")}
    SentencePieceVocabulary.train(text["en"], size=90).save(folder / "en.model")
    SentencePieceVocabulary.train(text["de"], size=120).save(folder / "0.model")
    SentencePieceVocabulary.train(text["de"], size=1000, type="char").save(folder / "1.model")
    runs = [folder / "run-0", folder / "run-1"]
    for number, run in enumerate(runs):
        experiment = quick(tiny_experiment(), seed=number)
        models = [f"{number}.model", "en.model"]
        experiment["data"]["vocabulary"] = {"model": models}
        file = write_experiment(folder / f"{number}.yaml", experiment)
        assert nmt_train(file, "--run", run).code == 0
    return runs


def test_each_model_reads_its_own_segmentation(
    two_segmentations: list[Path], sources: list[str]
) -> None:
    one, two = (Translator.load(run) for run in two_segmentations)
    both = Translator.load(*two_segmentations)
    assert one.reader.fingerprint != two.reader.fingerprint
    texts, targets = [*sources[:7], ""], [*(t.text for t in one.translate(sources[:7])), ""]
    parts = zip(*(each.score(texts, targets) for each in (both, one, two)), strict=True)
    for joint, first, second in parts:
        pairs = zip(first.piece_scores, second.piece_scores, strict=True)
        mean = [float(torch.tensor(p).double().exp().mean().log()) for p in pairs]
        assert list(joint.piece_scores) == pytest.approx(mean, abs=1e-5)
        # Pieces and attention are those of the first run.
        assert joint.source_pieces == first.source_pieces
        assert joint.source_spans == first.source_spans
        if joint.text:
            assert joint.source_pieces != second.source_pieces
            assert joint.attention is not None and first.attention is not None
            torch.testing.assert_close(joint.attention, first.attention)
            assert joint.alignment == first.alignment


def test_batches_change_no_result_of_different_segmentations(
    two_segmentations: list[Path], sources: list[str]
) -> None:
    both = Translator.load(*two_segmentations, *two_segmentations[:1])
    together = both.translate(sources[:9], beam_size=3)
    for text, found in zip(sources[:9], together, strict=True):
        (alone,) = both.translate(text, beam_size=3)
        assert (alone.text, alone.piece_scores) == (found.text, found.piece_scores)


def test_a_line_that_one_segmentation_leaves_empty(two_segmentations: list[Path]) -> None:
    both = Translator.load(*two_segmentations)
    text = "Ein Mann"
    own = both.reader.encode

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [[] for _ in texts]

    other = next(r for r in both.readers if r is not both.reader)
    other.encode = encode  # type: ignore[method-assign]
    (found,) = both.translate([text])
    assert found.source_pieces
    both.reader.encode, other.encode = encode, own  # type: ignore[method-assign]
    (found,) = both.translate([text])
    assert (found.text, found.source_pieces) == ("", ())
