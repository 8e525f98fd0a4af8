"""Trivial baselines of a test text: copies of the source, and translations of similar sentences."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from nmt.evaluation.metrics import score

NGRAM_LENGTHS = range(1, 5)


def copy_score(sources: Sequence[str], references: Sequence[str]) -> float:
    """Return the chrF of the source sentences as translations."""
    return score(["chrf"], sources, [references])["chrf"].score


def nearest_score(
    train: Sequence[tuple[str, str]], sources: Sequence[str], references: Sequence[str]
) -> float:
    """Return the chrF of the translation of the most similar training sentence of each source."""
    nearest = nearest_sentences([source for source, _ in train], sources)
    return score(["chrf"], [train[index][1] for index in nearest], [references])["chrf"].score


def nearest_sentences(train: Sequence[str], sources: Sequence[str]) -> list[int]:
    """Return the index of the training sentence that is most similar to each source.

    The similarity is the cosine of character n-grams of 1 to 4 letters, weighted by their rarity
    (tf-idf); of equal ones, the first counts.
    """
    counts: list[dict[str, int]] = [Counter(_ngrams(line)) for line in train]
    frequency = Counter[str]()
    for grams in counts:
        frequency.update(grams.keys())
    weights = {gram: np.log((1 + len(train)) / count) for gram, count in frequency.items()}
    rows, values = defaultdict[str, list[int]](list), defaultdict[str, list[float]](list)
    for index, grams in enumerate(counts):
        weighted = {gram: count * weights[gram] for gram, count in grams.items()}
        norm = np.sqrt(sum(value * value for value in weighted.values())) or 1.0
        for gram, value in weighted.items():
            rows[gram].append(index)
            values[gram].append(value / norm)
    postings = {gram: (np.array(rows[gram]), np.array(values[gram])) for gram in rows}
    found = []
    for line in sources:
        similarity = np.zeros(len(train))
        for gram, count in Counter(_ngrams(line)).items():
            if gram in postings:
                indices, parts = postings[gram]
                similarity[indices] += count * weights[gram] * parts
        found.append(int(similarity.argmax()))
    return found


def _ngrams(line: str) -> Iterator[str]:
    text = f" {line.strip().lower()} "
    return (text[i : i + n] for n in NGRAM_LENGTHS for i in range(len(text) - n + 1))
