"""Trivial baselines of a test text: copies of the source, and translations of similar sentences."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nmt.evaluation.metrics import score

NGRAM_LENGTHS = range(1, 5)
MAX_PAIRS, MAX_LINES = 20_000, 2_000
"""Largest training and test texts whose nearest sentences are searched; more take minutes."""


class Baseline(NamedTuple):
    """Name of a trivial system, and the score of its translations."""

    name: str
    score: float


def score_baselines(
    pairs: int,
    train: Callable[[], Iterable[tuple[str, str]]],
    sources: Sequence[str],
    references: Sequence[str],
    metric: str = "chrf",
    *,
    copies: Sequence[str] | None = None,
    tokenize: str | None = None,
    lowercase: bool = False,
) -> list[Baseline]:
    """Return the scores of copies of the source, and of translations of similar sentences.

    The latter are left out for texts that exceed `MAX_PAIRS` or `MAX_LINES`.

    Args:
        pairs: number of training pairs
        train: returns the training pairs; called only for at most `MAX_PAIRS` pairs
        sources, references: the sentences to translate, and their translations
        copies: the sentences without tags; None if they have none
        metric, tokenize, lowercase: as in `nmt.evaluation.metrics.score`
    """

    def of(name: str, translations: Sequence[str]) -> Baseline:
        results = score(
            [metric], translations, [references], tokenize=tokenize, lowercase=lowercase
        )
        return Baseline(name, results[metric].score)

    found = [of("copies of the source", sources if copies is None else copies)]
    if pairs <= MAX_PAIRS and len(sources) <= MAX_LINES:
        known = list(train())
        nearest = nearest_sentences([source for source, _ in known], sources)
        translations = [known[index][1] for index in nearest]
        found.append(of("the translations of the nearest training sentences", translations))
    return found


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
