"""Subword regularization: sampled segmentations of the same words."""

import hashlib
import io
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece as spm

from nmt.data import subword_regularization
from nmt.data.corpus import Corpus
from nmt.data.subword_regularization import sample_segmentations
from nmt.data.token_corpus import TokenCorpus
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary
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
    for tokens, weight in weights.items():
        expected = weight / sum(weights.values())
        deviation = math.sqrt(expected * (1 - expected) / draws)
        assert found[tokens] / draws == pytest.approx(expected, abs=5 * deviation), tokens


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
