"""Metrics of all pairs of sentences compared with sacreBLEU's values of single pairs."""

import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from nmt.search.sentence_metrics import SentenceBleu, SentenceChrf

HYPOTHESES = [
    "The cat sat on the mat.",
    "the the the the the the the cat",
    "A dog, and another dog, and the dog again",
    "cat",
    "on the mat sat the cat and on the mat it sat",
    "",
    "Hund",
]
REFERENCES = [
    "The cat sat on the mat.",
    "The cats sat there on the the mat",
    "dogs",
    "",
    "A dog and another dog again and again!",
]


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        (SentenceChrf(), CHRF()),
        (SentenceBleu(), BLEU(effective_order=True)),
        (SentenceBleu("char"), BLEU(effective_order=True, tokenize="char")),
    ],
    ids=["chrf", "bleu", "bleu of characters"],
)
def test_every_pair_has_the_value_of_sacrebleu(
    metric: SentenceChrf | SentenceBleu, reference: CHRF | BLEU
) -> None:
    matrix = metric.matrix(HYPOTHESES, REFERENCES)
    assert matrix.shape == (len(HYPOTHESES), len(REFERENCES))
    for row, hypothesis in enumerate(HYPOTHESES):
        for column, text in enumerate(REFERENCES):
            expected = reference.sentence_score(hypothesis, [text]).score
            assert matrix[row, column] == pytest.approx(expected, abs=1e-9), (hypothesis, text)
