"""Shortlists: IBM model 1 against a plain implementation, the lists, and their file."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
import safetensors.numpy

from nmt.data import shortlist as module
from nmt.data.shortlist import Shortlist, learn_shortlist, translation_probabilities
from nmt.data.token_corpus import FilterStats, TokenArrays, TokenCorpus
from nmt.data.vocabularies.words import WordVocabulary
from nmt.errors import UserError

Pairs = Sequence[tuple[list[int], list[int]]]
SIZES = (7, 9)  # tokens of source and target


def corpus_of(pairs: Pairs) -> TokenCorpus:
    arrays: list[np.ndarray] = []
    for side in zip(*pairs, strict=True):
        arrays.append(np.array([token for sentence in side for token in sentence], np.uint16))
        arrays.append(np.cumsum([0, *map(len, side)]))
    return TokenCorpus(TokenArrays._make([*arrays, np.arange(len(pairs))]), FilterStats(), "", "")


def random_pairs(number: int) -> Pairs:
    generator = np.random.default_rng(3)

    def sentence(size: int) -> list[int]:
        return list(generator.integers(0, size, generator.integers(1, 6)).tolist())

    return [(sentence(SIZES[0]), sentence(SIZES[1])) for _ in range(number)]


def model_1(pairs: Pairs, excluded: list[int], iterations: int) -> dict[tuple[int, int], float]:
    """Brown et al. 1993, section 4.1, by loops over words; the empty word is SIZES[0]."""
    links = [
        ([*source, SIZES[0]], token)
        for source, target in pairs
        for token in target
        if token not in excluded
    ]
    probability: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(iterations):
        counts: dict[tuple[int, int], float] = defaultdict(float)
        totals: dict[int, float] = defaultdict(float)
        for source, token in links:
            norm = sum(probability[word, token] for word in source)
            for word in source:
                counts[word, token] += probability[word, token] / norm
                totals[word] += probability[word, token] / norm
        probability = defaultdict(float, {k: n / totals[k[0]] for k, n in counts.items()})
    return dict(probability)


@pytest.mark.parametrize("chunk", [1, 40, 10_000])
def test_probabilities_are_those_of_model_1(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LINKS", chunk)
    pairs, excluded = random_pairs(30), [2, 5]
    found = translation_probabilities(corpus_of(pairs), *SIZES, np.array(excluded))
    expected = model_1(pairs, excluded, module.ITERATIONS)
    keys = list(zip(found.sources.tolist(), found.targets.tolist(), strict=True))
    assert keys == sorted(expected)
    assert found.probabilities == pytest.approx([expected[key] for key in keys], rel=1e-12)


def test_large_corpora_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = random_pairs(30)
    corpus = corpus_of(pairs)
    possible = int(corpus.source_lengths @ corpus.target_lengths)
    monkeypatch.setattr(module, "MAX_LINKS", -(-possible // 3))
    found = translation_probabilities(corpus, *SIZES, np.array([], np.int64))
    expected = model_1(pairs[::3], [], module.ITERATIONS)
    assert found.probabilities == pytest.approx([expected[key] for key in sorted(expected)])


def test_shortlist_has_translations_frequent_and_equal_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FREQUENT_TOKENS", 1)
    monkeypatch.setattr(module, "TRANSLATIONS", 1)
    lines = [("das haus", "the house"), ("das buch", "the book"), ("ein buch", "a book")]
    source = WordVocabulary.make(["das", "haus", "buch", "ein", "paris"])
    target = WordVocabulary.make(["the", "house", "book", "a", "paris"])
    pairs = [(source.encode(one), target.encode(other)) for one, other in lines * 3]
    # The most frequent target token.
    pairs.append((source.encode("paris"), target.encode("the the")))
    learned = learn_shortlist(corpus_of(pairs), source, target)

    def words(text: str, others: Sequence[int] = ()) -> set[str]:
        return set(target.tokens(learned.candidates(source.encode(text), others).tolist()))

    always = {"</s>", "<unk>", "the"}
    assert words("buch") == always | {"book"}
    assert words("haus") == always | {"house"}
    assert words("paris haus") == always | {"house", "paris"}
    assert words("paris", target.encode("a")) == always | {"paris", "a"}
    ascending = learned.candidates(source.encode("ein haus buch"))
    assert (np.diff(ascending) > 0).all()


def example() -> Shortlist:
    offsets, tokens, frequent = (np.array(one, np.int32) for one in ([0, 2, 2, 3], [4, 1, 0], [2]))
    return Shortlist(offsets, tokens, frequent, 5)


def test_shortlist_is_restored_from_its_file() -> None:
    restored = Shortlist.from_bytes(example().to_bytes(), (3, 5), "file")
    assert restored.candidates([0, 2]).tolist() == [0, 1, 2, 4]
    assert restored.candidates([1]).tolist() == [2]
    assert restored.vocabulary == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"offsets": [0, 2, 2]},
        {"offsets": [0, 2, 1, 3]},
        {"offsets": [0, 2, 2, 4]},
        {"offsets": [1, 2, 2, 3]},
        {"tokens": [4, 1, 5]},
        {"tokens": [4, 1, -1]},
        {"frequent": []},
        {"frequent": [[2]]},
        {"more": [1]},
    ],
)
def test_file_that_fits_no_vocabulary_is_refused(changes: dict[str, list[int]]) -> None:
    arrays = {"offsets": [0, 2, 2, 3], "tokens": [4, 1, 0], "frequent": [2]} | changes
    content = safetensors.numpy.save({k: np.array(v, np.int32) for k, v in arrays.items()})
    with pytest.raises(UserError, match="file: is not a shortlist"):
        Shortlist.from_bytes(content, (3, 5), "file")


def test_damaged_file_is_refused() -> None:
    with pytest.raises(UserError, match="file: cannot be read"):
        Shortlist.from_bytes(example().to_bytes()[:20], (3, 5), "file")
