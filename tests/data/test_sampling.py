"""Sampled encodings: other cuts of the same pairs."""

from collections.abc import Callable

import pytest

from nmt.data import encoding
from nmt.data.cache import encode_corpus, sample_corpus
from nmt.data.corpus import Corpus
from nmt.data.encoded import EncodedCorpus
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError

Pairs = list[tuple[str, str]]
Write = Callable[[Pairs], Corpus]


def ids_of(encoded: EncodedCorpus) -> list[tuple[list[int], list[int]]]:
    return [(encoded.source(i).tolist(), encoded.target(i).tolist()) for i in range(len(encoded))]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK", 5)


@pytest.mark.usefixtures("small_chunks")
def test_sampling_cuts_the_same_pairs_otherwise(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, bpe: Vocabulary
) -> None:
    pairs[3:3] = [("", "A man")] * 7
    corpus = write(pairs)
    encoded = encode_corpus(corpus, vocabulary, bpe, max_length=60, folder=None)

    def sample(seed: int) -> EncodedCorpus:
        return sample_corpus(corpus, encoded, vocabulary, bpe, alpha=0.2, seed=seed)

    first, again, other = sample(1), sample(1), sample(2)
    assert ids_of(first) == ids_of(again)
    assert first.fingerprint == again.fingerprint
    assert len({encoded.fingerprint, first.fingerprint, other.fingerprint}) == 3
    assert first.lines.tolist() == encoded.lines.tolist()
    for side in (0, 1):
        texts = [(vocabulary, bpe)[side].decode(ids[side]) for ids in ids_of(first)]
        assert texts == [pair[side] for pair in pairs if pair[0]]
        cuts = [[ids[side] for ids in ids_of(each)] for each in (encoded, first, other)]
        assert cuts[0] != cuts[1] != cuts[2] != cuts[0]


@pytest.mark.usefixtures("small_chunks")
def test_equal_pairs_are_cut_independently_throughout(write: Write, vocabulary: Vocabulary) -> None:
    corpus = write([("Ein Mädchen wartet im Garten.", "Ein Mädchen wartet im Garten.")] * 10)
    encoded = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=None)
    cuts = ids_of(sample_corpus(corpus, encoded, vocabulary, vocabulary, alpha=0.1, seed=1))
    assert cuts[:5] != cuts[5:]
    assert [source for source, _ in cuts] != [target for _, target in cuts]


def test_sampling_keeps_a_pair_whose_cut_is_longer_than_allowed(
    write: Write, vocabulary: Vocabulary
) -> None:
    corpus = write([("Ein Mädchen wartet im Garten.", "A girl waits in the garden.")] * 20)
    length = max(map(len, map(vocabulary.encode, next(corpus.pairs()))))
    encoded = encode_corpus(corpus, vocabulary, vocabulary, max_length=length, folder=None)
    sampled = sample_corpus(corpus, encoded, vocabulary, vocabulary, alpha=0.1, seed=1)
    assert len(sampled) == 20
    assert sampled.source_lengths.max() > length


def test_sampling_text_that_changed_meanwhile_is_an_error(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    corpus = write(pairs)
    encoded = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=None)
    write([*pairs[:-1], ("Ein Mann", "A man")])
    with pytest.raises(UserError, match=r"train\.de: the text is not what was encoded"):
        sample_corpus(corpus, encoded, vocabulary, vocabulary, alpha=0.1, seed=1)
