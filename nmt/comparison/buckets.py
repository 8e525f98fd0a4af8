"""Scores of parts of a test text: by length of the source, and by frequency of the words.

Neubig et al. 2019 (compare-mt) motivate both.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from nmt.comparison.results import Results
from nmt.data.bleu_tokenizer import lacks_spaces

MAX_BUCKETS, MIN_LINES = 14, 50
WIDTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MAX_TRAINING_LINES = 200_000
# Occurrences in the training text; words above the last one are in a bucket of their own.
FREQUENCIES = (0, 1, 2, 4, 9, 99, 999)


class Buckets(NamedTuple):
    """Scores of all systems by bucket.

    Attributes:
        quantity: quantity that divides the text into buckets
        measure: name of the scores
        labels: range of the quantity in each bucket
        sizes: lines or words of each bucket
        scores: one score per bucket by system, the mean over its seeds; NaN for an empty bucket
    """

    quantity: str
    measure: str
    labels: Sequence[str]
    sizes: Sequence[int]
    scores: dict[str, list[float]]


def by_length(results: Results) -> Buckets | None:
    """Score the lines of similar length, by the first metric; None for images and short texts."""
    test, metric = results.test, results.metrics[0]
    if results.systems[0].system.experiment.data.pictures is not None:
        return None
    unit = "characters" if lacks_spaces(test.sources) else "words"
    lengths = [len(line if unit == "characters" else line.split()) for line in test.sources]
    parts = divide(lengths)
    if len(parts) < 2:
        return None
    scores: dict[str, list[float]] = {result.name: [] for result in results.systems}
    for rows in parts.values():
        references = [[lines[row] for row in rows] for lines in test.references]
        for result in results.systems:
            texts = ([one.texts[row] for row in rows] for one in result.measurements)
            found = [results.scorers[metric].corpus_score(one, references).score for one in texts]
            scores[result.name].append(mean(found))
    sizes = [len(rows) for rows in parts.values()]
    return Buckets(f"{unit} of the source", metric, list(parts), sizes, scores)


def divide(lengths: Sequence[int]) -> dict[str, list[int]]:
    """Divide rows into buckets of similar lengths, such as 1-5 and 6-10, by label.

    A bucket with fewer than `MIN_LINES` rows is merged with the next one, the last one with its
    predecessor.
    """
    longest = max(1, *lengths)
    width = next((one for one in WIDTHS if longest <= one * MAX_BUCKETS), longest)
    buckets: list[tuple[int, int, list[int]]] = []
    first, rows = 1, list[int]()
    for last in range(width, longest + width, width):
        # Blank lines are in the first bucket.
        rows += [row for row, length in enumerate(lengths) if last - width < max(1, length) <= last]
        if len(rows) >= MIN_LINES:
            buckets.append((first, last, rows))
            first, rows = last + 1, []
    if rows or not buckets:
        before, _, others = buckets.pop() if buckets else (1, 0, [])
        buckets.append((before, last, others + rows))
    return {
        str(last) if first == last else f"{first}-{last}": rows for first, last, rows in buckets
    }


def by_frequency(results: Results, training_lines: Iterable[str]) -> Buckets:
    """Compute the F-score of words by their frequency in the training text.

    For the words of a bucket, F = 2 m / (h + r): m occurrences that a translation shares with its
    reference, h in the translations, r in the references. Only the first reference counts.

    Args:
        results: results of a comparison
        training_lines: target lines of the training text
    """
    tokenizer = BLEU(tokenize=results.tokenize).tokenizer

    def count(line: str) -> Counter[str]:
        return Counter(tokenizer(line.strip()).split())

    frequencies = Counter[str]()
    for line in training_lines:
        frequencies.update(count(line))

    def add_up(counts: Iterable[Counter[str]]) -> NDArray[np.int64]:
        sums = np.zeros(len(FREQUENCIES) + 1, dtype=np.int64)
        for counted in counts:
            for word, number in counted.items():
                sums[np.searchsorted(FREQUENCIES, frequencies[word])] += number
        return sums

    references = [count(line) for line in results.test.references[0]]
    sizes, scores = add_up(references), {}
    for result in results.systems:
        f_scores = []
        for one in result.measurements:
            texts = [count(line) for line in one.texts]
            matches = add_up(a & b for a, b in zip(texts, references, strict=True))
            total = add_up(texts) + sizes
            f_scores.append(200 * matches / np.where(total, total, np.nan))
        scores[result.name] = [float(value) for value in np.mean(f_scores, axis=0)]
    firsts = [0, *(last + 1 for last in FREQUENCIES)]
    labels = [
        str(first) if first == last else f"{first}-{last}"
        for first, last in zip(firsts, FREQUENCIES, strict=False)
    ]
    labels.append(f"{firsts[-1]}+")
    quantity = "occurrences of a word in the training text"
    used = [number for number, size in enumerate(sizes) if size]
    return Buckets(
        quantity,
        "F-score",
        [labels[number] for number in used],
        [int(sizes[number]) for number in used],
        {name: [values[number] for number in used] for name, values in scores.items()},
    )
