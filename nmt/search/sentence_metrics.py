"""Metrics of sentences between all pairs of two lists of texts, with the values of sacreBLEU.

sacreBLEU counts the n-grams of both texts for every pair. Here they are counted once per text, and
a matrix product compares all pairs.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU, MAX_NGRAM_ORDER
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.helpers import extract_all_char_ngrams, extract_all_word_ngrams

Matrix = NDArray[np.float64]


class SentenceMetric(ABC):
    """A metric that compares sentences, from 0 to 100."""

    @abstractmethod
    def matrix(self, hypotheses: Sequence[str], references: Sequence[str]) -> Matrix:
        """Return the values of all hypotheses (rows) against all references (columns)."""


class SentenceChrf(SentenceMetric):
    """chrF of sentences. Popović 2015; sacreBLEU's `CHRF().sentence_score`."""

    def matrix(self, hypotheses: Sequence[str], references: Sequence[str]) -> Matrix:
        by_text = {
            text: extract_all_char_ngrams(text, CHRF.CHAR_ORDER)
            for text in {*hypotheses, *references}
        }
        shape = len(hypotheses), len(references)
        precision, recall, orders = (np.zeros(shape) for _ in range(3))
        for order in range(CHRF.CHAR_ORDER):
            matched, of_hypothesis, of_reference = _match(
                [by_text[text][order] for text in hypotheses],
                [by_text[text][order] for text in references],
            )
            # An order counts if both texts are long enough for it.
            counts = (of_hypothesis > 0) & (of_reference > 0)
            precision += np.divide(matched, of_hypothesis, out=np.zeros(shape), where=counts)
            recall += np.divide(matched, of_reference, out=np.zeros(shape), where=counts)
            orders += counts
        precision /= orders.clip(min=1)
        recall /= orders.clip(min=1)
        weight = CHRF.BETA**2
        sums = weight * precision + recall
        product = (1 + weight) * precision * recall
        return 100 * np.divide(product, sums, out=np.zeros(shape), where=sums > 0)


class SentenceBleu(SentenceMetric):
    """Smoothed BLEU of sentences; sacreBLEU's `BLEU(effective_order=True).sentence_score`.

    Args:
        tokenize: sacreBLEU's tokenizer; None for its default, 13a
    """

    def __init__(self, tokenize: str | None = None) -> None:
        self._tokenize = BLEU(tokenize=tokenize).tokenizer

    def matrix(self, hypotheses: Sequence[str], references: Sequence[str]) -> Matrix:
        by_text = {
            text: extract_all_word_ngrams(self._tokenize(text.rstrip()), 1, MAX_NGRAM_ORDER)
            for text in {*hypotheses, *references}
        }
        shape = len(hypotheses), len(references)
        log_sum, orders, matches = (np.zeros(shape) for _ in range(3))
        smoothing = np.ones(shape)
        for order in range(1, MAX_NGRAM_ORDER + 1):
            matched, of_hypothesis, _ = _match(
                [_of_order(by_text[text][0], order) for text in hypotheses],
                [_of_order(by_text[text][0], order) for text in references],
            )
            matches += matched
            is_long = np.broadcast_to(of_hypothesis > 0, shape)
            # The k-th order without a match counts as 1 / 2^k n-grams; Chen and Cherry 2014,
            # method 3.
            smoothing *= np.where(is_long & (matched == 0), 2, 1)
            smoothed = np.where(matched == 0, 1 / smoothing, matched)
            log_sum += np.log(np.divide(smoothed, of_hypothesis, out=np.ones(shape), where=is_long))
            orders += is_long
        hypothesis_lengths = np.array([[by_text[text][1]] for text in hypotheses], dtype=float)
        reference_lengths = np.array([[by_text[text][1] for text in references]], dtype=float)
        excess = 1 - reference_lengths / hypothesis_lengths.clip(min=1)
        values = 100 * np.exp(np.minimum(excess, 0) + log_sum / orders.clip(min=1))
        return np.where(matches > 0, values, 0.0)


@cache
def make_sentence_metric(name: str, tokenize: str | None = None) -> SentenceMetric:
    """Return the metric of this name, `chrf` or `bleu`.

    Args:
        name: name of the metric
        tokenize: see `SentenceBleu`; without effect on chrf
    """
    return SentenceChrf() if name == "chrf" else SentenceBleu(tokenize)


class _Matches(NamedTuple):
    """n-grams of one order that two texts have in common, and n-grams of each of them."""

    matched: Matrix
    of_hypothesis: Matrix
    of_reference: Matrix


def _match(
    hypotheses: Sequence[Counter[str] | Counter[tuple[str, ...]]],
    references: Sequence[Counter[str] | Counter[tuple[str, ...]]],
) -> _Matches:
    """Count the common n-grams Σ_g min(count in one, count in the other) of all pairs."""
    # The minimum is the number of k with both counts >= k, so (g, k) becomes a column of zeros and
    # ones, and the sum over them a matrix product, which float32 represents exactly.
    columns: dict[tuple[Hashable, int], int] = {}
    for counter in references:
        for ngram, count in counter.items():
            for k in range(count):
                columns.setdefault((ngram, k), len(columns))
    matched = _occurrences(hypotheses, columns) @ _occurrences(references, columns).T
    return _Matches(
        matched.astype(np.float64),
        np.array([[counter.total()] for counter in hypotheses], dtype=np.float64),
        np.array([[counter.total() for counter in references]], dtype=np.float64),
    )


def _occurrences(
    counters: Sequence[Counter[str] | Counter[tuple[str, ...]]],
    columns: dict[tuple[Hashable, int], int],
) -> NDArray[np.float32]:
    matrix = np.zeros((len(counters), len(columns)), dtype=np.float32)
    for row, counter in enumerate(counters):
        found = [
            columns[ngram, k]
            for ngram, count in counter.items()
            for k in range(count)
            if (ngram, k) in columns
        ]
        matrix[row, found] = 1
    return matrix


def _of_order(counter: Counter[tuple[str, ...]], order: int) -> Counter[tuple[str, ...]]:
    return Counter({ngram: count for ngram, count in counter.items() if len(ngram) == order})
