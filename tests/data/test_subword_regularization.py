"""Subword regularization: sampled segmentations of the same words."""

import hashlib
import io
import math
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import sentencepiece as spm

from nmt.data import subword_regularization
from nmt.data.corpus import Corpus
from nmt.data.subword_regularization import sample_segmentations
from nmt.data.token_corpus import TokenCorpus
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabularies.learning import _learn_subwords
from nmt.data.vocabularies.merging import merge
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary
from tests.commands import PHRASES, lines_of
from tests.data.corpora import Pairs, Write, ids_of

PROGRAM = """
import sys
from pathlib import Path
from nmt.data.corpus import find_corpus
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary
from tests.data.test_subword_regularization import digest, sample, tokenize
vocabulary = SentencePieceVocabulary.load(sys.argv[2])
print(digest(sample(tokenize(find_corpus(Path(sys.argv[1]), "de", "en"), vocabulary), vocabulary)))
"""


def tokenize(corpus: Corpus, vocabulary: Vocabulary) -> TokenCorpus:
    return tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=None)


def sample(
    tokenized: TokenCorpus,
    vocabulary: Vocabulary,
    *,
    alpha: float = 0.1,
    nbest: int = -1,
    seed: int = 1,
) -> TokenCorpus:
    return sample_segmentations(
        tokenized, vocabulary, vocabulary, alpha=alpha, nbest=nbest, seed=seed
    )


def texts_of(tokenized: TokenCorpus, vocabulary: Vocabulary) -> Pairs:
    return [(vocabulary.decode(s), vocabulary.decode(t)) for s, t in ids_of(tokenized)]


def digest(tokenized: TokenCorpus) -> str:
    return hashlib.sha256(repr(ids_of(tokenized)).encode()).hexdigest()


def assert_frequencies(
    found: Mapping[tuple[str, ...], int], expected: Mapping[tuple[str, ...], float]
) -> None:
    """Compare relative frequencies with probabilities, up to five standard deviations."""
    draws = sum(found.values())
    for segmentation, share in expected.items():
        deviation = math.sqrt(share * (1 - share) / draws)
        relative = found[segmentation] / draws
        assert relative == pytest.approx(share, abs=5 * deviation), segmentation


def test_sampling_changes_segmentations_but_not_text(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    pairs[3:3] = [("", "A man")] * 7
    tokenized = tokenize(write(pairs), vocabulary)
    first, again, other = (sample(tokenized, vocabulary, seed=seed) for seed in (1, 1, 2))
    assert ids_of(first) == ids_of(again)
    assert first.fingerprint == again.fingerprint
    assert len({tokenized.fingerprint, first.fingerprint, other.fingerprint}) == 3
    assert first.lines.tolist() == tokenized.lines.tolist()
    assert texts_of(first, vocabulary) == [pair for pair in pairs if pair[0]]
    for side in (0, 1):
        sides = [[ids[side] for ids in ids_of(each)] for each in (tokenized, first, other)]
        assert sides[0] != sides[1] != sides[2] != sides[0]


def test_each_side_is_segmented_by_its_own_vocabulary(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    english = SentencePieceVocabulary.train([target for _, target in pairs], size=32)
    corpus = write(pairs)
    tokenized = tokenize_corpus(corpus, vocabulary, english, max_length=60, cache_dir=None)
    sampled = sample_segmentations(tokenized, vocabulary, english, alpha=0.1, nbest=-1, seed=1)
    assert sampled.arrays.target_tokens.tolist() != tokenized.arrays.target_tokens.tolist()
    decoded = [(vocabulary.decode(s), english.decode(t)) for s, t in ids_of(sampled)]
    assert decoded == pairs


def test_another_process_samples_the_same_segmentations(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    tokenized = tokenize(write(pairs), vocabulary)
    here = digest(sample(tokenized, vocabulary))
    assert here != digest(tokenized)
    model = tmp_path / "joint.model"
    vocabulary.save(model)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "train")]
    root = Path(__file__).parents[2]
    for _ in range(2):
        there = subprocess.run(
            [*command, str(model)], cwd=root, capture_output=True, check=True, text=True
        )
        assert there.stdout.strip() == here


def test_samples_do_not_depend_on_earlier_words_or_chunk_size(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenized = tokenize(write(pairs), vocabulary)
    expected = ids_of(sample(tokenized, vocabulary))
    fresh = SentencePieceVocabulary(vocabulary.serialized)
    monkeypatch.setattr(subword_regularization, "CHUNK_PAIRS", 5)
    sample(tokenize(write(pairs[::-1]), fresh), fresh)
    assert ids_of(sample(tokenized, fresh)) == expected


def test_equal_pairs_are_sampled_independently(write: Write, vocabulary: Vocabulary) -> None:
    text = "Ein Mädchen wartet im Garten."
    sampled = ids_of(sample(tokenize(write([(text, text)] * 20), vocabulary), vocabulary))
    assert len({tuple(source) for source, _ in sampled}) > 15
    assert [source for source, _ in sampled] != [target for _, target in sampled]


def test_pair_that_becomes_too_long_is_kept(write: Write, vocabulary: Vocabulary) -> None:
    corpus = write([("Ein Mädchen wartet im Garten.", "A girl waits in the garden.")] * 20)
    length = max(map(len, map(vocabulary.encode, next(corpus.pairs()))))
    tokenized = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=length, cache_dir=None)
    sampled = sample(tokenized, vocabulary)
    assert len(sampled) == 20
    assert sampled.source_lengths.max() > length


def segmentations_of(word: str, scores: dict[str, float]) -> Iterator[tuple[list[str], float]]:
    """Yield every segmentation of a word, and its log probability."""
    if not word:
        yield [], 0.0
    for end in range(1, len(word) + 1):
        if word[:end] in scores:
            for rest, score in segmentations_of(word[end:], scores):
                yield [word[:end], *rest], scores[word[:end]] + score


@pytest.mark.parametrize(("alpha", "nbest"), [(0.1, -1), (0.5, -1), (1.0, -1), (0.3, 3)])
def test_frequencies_are_proportional_to_probability_to_the_alpha(
    alpha: float, nbest: int, write: Write, vocabulary: Vocabulary
) -> None:
    processor = spm.SentencePieceProcessor(model_proto=vocabulary.serialized)
    scores = {processor.id_to_piece(i): processor.get_score(i) for i in range(4, len(vocabulary))}
    segmentations = sorted(segmentations_of("▁Mann", scores), key=lambda s: -s[1])
    assert 3 < len(segmentations) <= 64
    candidates = segmentations if nbest == -1 else segmentations[:nbest]
    weights = {tuple(tokens): math.exp(alpha * log_prob) for tokens, log_prob in candidates}
    draws = 40 * 500
    sentence = " ".join(["Mann"] * 40)
    tokenized = tokenize_corpus(
        write([(sentence, "A man")] * 500), vocabulary, vocabulary, max_length=999, cache_dir=None
    )
    found: Counter[tuple[str, ...]] = Counter()
    for source, _ in ids_of(sample(tokenized, vocabulary, alpha=alpha, nbest=nbest)):
        words = "\t".join(vocabulary.tokens(source)).split("▁")[1:]
        found.update(tuple(f"▁{word}".strip("\t").split("\t")) for word in words)
    assert set(found) <= set(weights)
    assert sum(found.values()) == draws
    total = sum(weights.values())
    assert_frequencies(found, {tokens: one / total for tokens, one in weights.items()})


def test_side_without_vocabulary_keeps_its_segmentations(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    tokenized = tokenize(write(pairs), vocabulary)
    both = ids_of(sample(tokenized, vocabulary))
    for sides in ((vocabulary, None), (None, vocabulary)):
        found = ids_of(sample_segmentations(tokenized, *sides, alpha=0.1, nbest=-1, seed=1))
        for side in (0, 1):
            expected = ids_of(tokenized) if sides[side] is None else both
            assert [ids[side] for ids in found] == [ids[side] for ids in expected]


CODES = {
    "0.1": "#version: 0.1\ni n\nin g\nM a\na n\nn </w>\nMa n</w>\n",
    "0.2": "#version: 0.2\ni n\ne r</w>\na n\nM an\nMan n</w>\nE i\nEi n</w>\n",
}


@pytest.fixture(scope="module", params=["sentencepiece", *CODES])
def bpe(request: pytest.FixtureRequest, bpe_pairs: Pairs) -> Any:
    """A vocabulary of BPE, with a user-defined symbol."""
    lines = [line for pair in bpe_pairs for line in pair]
    if request.param == "sentencepiece":
        options: dict[str, Any] = {"user_defined_symbols": ["Xy"]}
        return SentencePieceVocabulary.train(lines, size=120, type="bpe", **options)
    return _learn_subwords(CODES[request.param], ["Xy"], True, lines, "identity")


@pytest.fixture(scope="module")
def bpe_pairs() -> Pairs:
    texts = (lines_of(PHRASES.with_suffix(f".{side}")) for side in ("de", "en"))
    return list(zip(*texts, strict=True))


def _words(vocabulary: Any, pairs: Pairs) -> list[list[int]]:
    words = {word for pair in pairs for line in pair for word in line.split()}
    return vocabulary.encode_batch(sorted(words))


def test_merging_without_dropout_is_the_segmentation(bpe: Any, bpe_pairs: Pairs) -> None:
    words = _words(bpe, bpe_pairs)
    assert bpe.sampling == "bpe"
    assert sum(len(word) > 2 for word in words) > 20
    for word in words:
        assert bpe.drop_merges(word, lambda: False, 2) == [word, word]
        (characters,) = bpe.drop_merges(word, lambda: True, 1)
        assert bpe.decode(characters) == bpe.decode(word)
        assert bpe.unk not in characters
        surfaces = [t.strip("\u2581").removesuffix("@@") for t in bpe.tokens(characters)]
        assert max(map(len, surfaces)) == 1
    symbol = bpe.encode("aXyn")
    tokens = bpe.tokens(bpe.drop_merges(symbol, lambda: True, 1)[0])
    assert [one.removesuffix("@@") for one in tokens if "X" in one] == ["Xy"]


def _distribution(
    symbols: tuple[str, ...], ranks: dict[str, int], p: float
) -> dict[tuple[str, ...], float]:
    """Return the probabilities of all results of algorithm 1, by enumeration of what is dropped."""
    merges = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in ranks]
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for kept in product((False, True), repeat=len(merges)):
        weight = math.prod(1 - p if one else p for one in kept)
        rest = [merge for merge, one in zip(merges, kept, strict=True) if one]
        if not rest:
            found[symbols] += weight
            continue
        _, i = min(rest)
        after = (*symbols[:i], symbols[i] + symbols[i + 1], *symbols[i + 2 :])
        for result, share in _distribution(after, ranks, p).items():
            found[result] += weight * share
    return found


def test_dropped_merges_have_the_distribution_of_algorithm_1() -> None:
    ranks, draws = {"ab": 3, "bc": 1, "abc": 2, "cd": 4, "bcd": 5, "abcd": 6}, 20_000
    expected = _distribution(tuple("abcd"), ranks, 0.3)
    assert sum(expected.values()) == pytest.approx(1)
    assert len(expected) == 8
    random = Random(1).random
    found = Counter(
        (*merge("abcd", lambda a, b: ranks.get(a + b, math.inf), lambda: random() < 0.3),)
        for _ in range(draws)
    )
    assert found.keys() == expected.keys()
    assert_frequencies(found, expected)


def test_bpe_dropout_changes_segmentations_but_not_text(
    bpe: Any, write: Write, bpe_pairs: Pairs
) -> None:
    tokenized = tokenize(write(bpe_pairs), bpe)
    first, again, other = (
        sample_segmentations(tokenized, bpe, None, dropout=0.3, seed=seed) for seed in (1, 1, 2)
    )
    assert ids_of(first) == ids_of(again) != ids_of(other)
    assert texts_of(first, bpe) == texts_of(tokenized, bpe)
    longer = first.source_lengths.sum() / tokenized.source_lengths.sum()
    assert 1.005 < longer < 2
    # Samples of a word depend on no other word.
    fresh = type(bpe)(bpe.serialized)
    part = tokenize(write(bpe_pairs[:7]), fresh)
    tables = [subword_regularization._segmentation_table(one, 1.0, -1, 0.3) for one in (bpe, fresh)]
    sample_segmentations(part, fresh, None, dropout=0.3, seed=1)
    for word in tables[1].numbers:
        segmented = [table._segment(np.frombuffer(word, np.int32).tolist()) for table in tables]
        assert segmented[0][0] == segmented[1][0]


def test_words_that_bpe_does_not_know_are_unchanged(bpe: Any) -> None:
    word = bpe.encode("漢Mann")
    assert bpe.unk in word
    assert bpe.drop_merges(word, lambda: True, 1) == [word]


def test_large_alpha_selects_the_most_probable_segmentation(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    tokenized = tokenize(write(pairs), vocabulary)
    assert ids_of(sample(tokenized, vocabulary, alpha=1e5)) == ids_of(tokenized)
    assert ids_of(sample(tokenized, vocabulary, alpha=0.5)) != ids_of(tokenized)


def test_words_with_unknown_tokens_are_unchanged(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    pairs = [(f"漢字 {source} Mann漢", target) for source, target in pairs]
    tokenized = tokenize(write(pairs), vocabulary)
    first, last = vocabulary.encode("漢字"), vocabulary.encode("Mann漢")
    assert vocabulary.unk in first and vocabulary.unk in last
    sampled = ids_of(sample(tokenized, vocabulary))
    assert sampled != ids_of(tokenized)
    for source, _ in sampled:
        assert source[: len(first)] == first
        assert source[-len(last) :] == last


def test_words_with_byte_tokens_are_unchanged(write: Write, pairs: Pairs) -> None:
    lines = (line for pair in pairs for line in pair)
    vocabulary = SentencePieceVocabulary.train(lines, size=310, byte_fallback=True)
    tokenized = tokenize(write([("Ein 漢Mann wartet.", "A man 😀.")] * 20), vocabulary)
    sampled = sample(tokenized, vocabulary)
    assert texts_of(sampled, vocabulary) == texts_of(tokenized, vocabulary)
    unchanged = ",".join(map(str, vocabulary.encode("漢Mann")))
    sources = {",".join(map(str, source)) for source, _ in ids_of(sampled)}
    assert len(sources) > 5
    assert all(unchanged in source for source in sources)


def foreign_vocabulary(pairs: Pairs, **options: Any) -> Vocabulary:
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=(line for pair in pairs for line in pair),
        model_writer=model,
        vocab_size=60,
        minloglevel=3,
        **options,
    )
    return SentencePieceVocabulary(model.getvalue())


@pytest.mark.parametrize(
    "options",
    [
        {"add_dummy_prefix": False},
        {"remove_extra_whitespaces": False},
        {"treat_whitespace_as_suffix": True},
        {"split_by_whitespace": False},
    ],
    ids=str,
)
def test_foreign_models_with_other_space_rules_keep_the_text(
    options: dict[str, bool], write: Write, pairs: Pairs
) -> None:
    vocabulary = foreign_vocabulary(pairs, **options)
    tokenized = tokenize(write([*pairs, ("Ein  Mann ", " A   man")]), vocabulary)
    sampled = sample(tokenized, vocabulary)
    assert texts_of(sampled, vocabulary) == texts_of(tokenized, vocabulary)
    assert ids_of(sampled) != ids_of(tokenized)
