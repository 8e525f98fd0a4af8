"""Trivial baselines: copies of the source, and translations of the nearest training sentence."""

import math
from collections import Counter

from nmt.evaluation.baselines import nearest_sentences, score_baselines

TRAIN = [
    ("ein Hund läuft schnell", "a dog runs fast"),
    ("ein Haus steht am Fluss", "a house stands by the river"),
    ("zwei Kinder spielen im Garten", "two children play in the garden"),
]


def test_nearest_sentence_is_the_most_similar_one() -> None:
    sources = ["ein Hund läuft langsam", "Kinder im Garten", "das Haus am Fluss"]
    assert nearest_sentences([source for source, _ in TRAIN], sources) == [0, 2, 1]


def test_similarity_is_the_cosine_of_weighted_ngrams() -> None:
    train, query = ["ab", "abab", "ba c", "bc"], "ab c"

    def vector(line: str) -> dict[str, float]:
        text = f" {line} "
        grams = Counter(text[i : i + n] for n in (1, 2, 3, 4) for i in range(len(text) - n + 1))
        return {
            gram: count * math.log((1 + len(train)) / max(1, sum(gram in f" {t} " for t in train)))
            for gram, count in grams.items()
            if any(gram in f" {t} " for t in train)
        }

    def cosine(line: str) -> float:
        one, other = vector(line), vector(query)
        norm = math.sqrt(sum(value * value for value in one.values()))
        return sum(value * other.get(gram, 0.0) for gram, value in one.items()) / norm

    best = max(range(len(train)), key=lambda index: cosine(train[index]))
    assert nearest_sentences(train, [query]) == [best]


def test_scores_of_baselines() -> None:
    sources, references = ["ein Hund läuft"], ["a dog runs fast"]
    copies, nearest = score_baselines(len(TRAIN), lambda: TRAIN, sources, references)
    assert copies.score < 20
    assert nearest.score == 100
    _, nearest = score_baselines(len(TRAIN), lambda: TRAIN, sources, references, "exact")
    assert nearest.score == 100
    # Those of a long text would take minutes, so it is not read.
    (copies,) = score_baselines(10**6, lambda: [], references, references)
    assert copies.score == 100


def test_copies_leave_out_tags() -> None:
    tagged, plain = ["<2en> a dog runs fast"], ["a dog runs fast"]
    copies, _ = score_baselines(len(TRAIN), lambda: TRAIN, tagged, plain, copies=plain)
    assert copies.score == 100
