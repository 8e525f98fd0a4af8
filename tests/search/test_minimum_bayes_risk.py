"""Minimum Bayes risk decoding compared with sums over pairs, and its effect on translations."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from nmt.errors import UserError
from nmt.search.hypothesis import Hypothesis
from nmt.search.minimum_bayes_risk import rank_by_risk
from nmt.search.sentence_metrics import Matrix, SentenceChrf, SentenceMetric
from nmt.search.translation import Translation
from nmt.search.translator import Translator

from .tables import BOS, EOS, Table, every_string

TEXTS = ["the cat sat", "the cat sits", "a dog", "the cat sat", "cats sit", "a dog", "the cat sat"]


def _hypothesis(log_prob: float) -> Hypothesis:
    return Hypothesis([2, EOS], log_prob, log_prob, [log_prob, 0.0], None, finished=True)


@pytest.mark.parametrize("scale", [None, 0.0, 0.5, 1.0])
def test_ranking_equals_the_sum_over_all_pairs(scale: float | None) -> None:
    log_probs = [-1.0, -1.5, -2.0, -2.5, -1000.0, -3.5, -4.0]
    found = rank_by_risk(
        [_hypothesis(one) for one in log_probs], TEXTS, SentenceChrf(), scale=scale
    )
    weights = [math.exp((scale or 0.0) * one) for one in log_probs]
    expected: dict[str, float] = {}
    for text in TEXTS:
        values = [CHRF().sentence_score(text, [other]).score for other in TEXTS]
        products = [weight * value for weight, value in zip(weights, values, strict=True)]
        expected[text] = sum(products) / sum(weights)
    ranked = sorted(expected, key=lambda text: -expected[text])
    assert [one.score for one in found] == pytest.approx([expected[text] for text in ranked])
    # Of equal texts, the first hypothesis stands for all.
    assert [one.log_prob for one in found] == [log_probs[TEXTS.index(text)] for text in ranked]


def test_of_equal_risks_the_first_hypothesis_wins() -> None:
    found = rank_by_risk(
        [_hypothesis(-1.0), _hypothesis(-1.0)], ["b", "a"], SentenceChrf(), scale=1.0
    )
    assert [one.score for one in found] == [50.0, 50.0]
    assert rank_by_risk([], [], SentenceChrf(), scale=None) == []


class _SharedTokens(SentenceMetric):
    """Number of positions at which two strings of digits agree."""

    def matrix(self, hypotheses: Sequence[str], references: Sequence[str]) -> Matrix:
        return np.array(
            [[sum(map(str.__eq__, one, other)) for other in references] for one in hypotheses],
            dtype=np.float64,
        )


def test_all_strings_of_a_table_give_the_exact_expectation() -> None:
    table = Table(1, 5, sharpness=0.5)
    strings = list(every_string(table, 0, 4))
    texts = ["".join(map(str, one.tokens)) for one in strings]
    hypotheses = [
        Hypothesis(list(one.tokens), 0.0, one.log_prob, list(one.log_probs), None, one.finished)
        for one in strings
    ]
    best = rank_by_risk(hypotheses, texts, _SharedTokens(), scale=1.0)[0]
    # The expected agreement is the sum over positions of the marginal probabilities.
    marginal = [[0.0] * 4 for _ in range(4)]
    for one in strings:
        for position, token in enumerate(one.tokens):
            marginal[position][token] += math.exp(one.log_prob)
    values = [sum(marginal[t][token] for t, token in enumerate(one.tokens)) for one in strings]
    assert best.score == pytest.approx(max(values))
    assert tuple(best.tokens) == strings[int(np.argmax(values))].tokens
    # It is not the most probable string.
    assert best.log_prob < max(one.log_prob for one in strings)
    assert BOS not in best.tokens[-1:]


def _expected(candidates: Sequence[Translation], weights: Sequence[float]) -> list[float]:
    metric = BLEU(effective_order=True)
    return [
        sum(
            weight * metric.sentence_score(one.text, [other.text]).score
            for other, weight in zip(candidates, weights, strict=True)
        )
        / sum(weights)
        for one in candidates
    ]


@pytest.mark.parametrize("sampling", [{"seed": 3}, None])
def test_translation_has_the_highest_expected_bleu_of_its_candidates(
    translator: Translator, sources: list[str], sampling: Any
) -> None:
    options: dict[str, Any] = {"sampling": sampling} if sampling else {"beam_size": 6}
    candidates = translator.translate(sources[:4], n_best=6, **options)
    if not sampling:
        options["mbr_scale"] = 0.7
    found = translator.translate(sources[:4], mbr="bleu", candidates=6, n_best=2, **options)
    for one, own in zip(found, candidates, strict=True):
        weights = [1.0 if sampling else math.exp(0.7 * other.log_prob) for other in own.n_best]
        values = _expected(own.n_best, weights)
        assert one.score == pytest.approx(max(values))
        assert one.text in [
            other.text
            for other, value in zip(own.n_best, values, strict=True)
            if value == pytest.approx(max(values))
        ]
        assert [other.score for other in one.n_best] == sorted(
            (other.score for other in one.n_best), reverse=True
        )


def test_samples_of_a_sentence_differ_and_depend_on_nothing_else(
    translator: Translator, sources: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = {"seed": 2, "temperature": 2}
    several = translator.translate(sources[:3], sampling=sampling, n_best=12)
    # The first of several samples is the single one, and more of them do not change the others.
    single = translator.translate(sources[:3], sampling=sampling)
    assert [one.text for one in several] == [one.text for one in single]
    monkeypatch.setattr("nmt.search.encoded_batch.MAX_SAMPLED_ROWS", 4)
    fewer = translator.translate(sources[:3], sampling=sampling, n_best=7)
    for one, other in zip(several, fewer, strict=True):
        assert len(one.n_best) == 12
        assert [t.text for t in one.n_best[:7]] == [t.text for t in other.n_best]
        assert len({t.text for t in one.n_best}) > 3


def test_risk_does_not_depend_on_the_batch(translator: Translator, sources: list[str]) -> None:
    options: dict[str, Any] = {"mbr": "chrf", "sampling": {}, "candidates": 5}
    together = translator.translate(sources[:4], **options)
    alone = translator.translate(sources[:4], batch_sentences=1, **options)
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.score for one in together] == [one.score for one in alone]


def test_given_translations_are_scored_and_not_chosen(
    translator: Translator, sources: list[str]
) -> None:
    plain = translator.score(sources[:1], ["Good morning!"])
    (found,) = translator.score(sources[:1], ["Good morning!"], mbr="chrf")
    assert found.score == plain[0].score


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mbr": "ter"}, "mbr: must be one of 'chrf' or 'bleu'"),
        ({"mbr": "chrf", "beam_size": 1}, "mbr: requires several candidates"),
        ({"mbr": "chrf", "candidates": 1}, "candidates: must be at least 2"),
        ({"candidates": 9}, "candidates: has no effect without mbr"),
    ],
)
def test_impossible_options_of_risk_are_refused(
    translator: Translator, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        translator.translate("Guten Morgen!", **options)
