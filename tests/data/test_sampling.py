"""Sampled encodings: other cuts of the same words."""

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

from nmt.data import sampling
from nmt.data.cache import encode_corpus
from nmt.data.corpus import Corpus
from nmt.data.encoded import EncodedCorpus
from nmt.data.sampling import sample_corpus
from nmt.data.vocabulary import Vocabulary
from tests.data.encodings import Pairs, Write, ids_of

PROGRAM = """
import sys
from pathlib import Path
from nmt.data.corpus import resolve
from nmt.data.vocabulary import Vocabulary
from tests.data.test_sampling import digest, encode, sample
vocabulary = Vocabulary.load(sys.argv[2])
print(digest(sample(encode(resolve(Path(sys.argv[1]), "de", "en"), vocabulary), vocabulary)))
"""


def encode(corpus: Corpus, vocabulary: Vocabulary) -> EncodedCorpus:
    return encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=None)


def sample(
    encoded: EncodedCorpus,
    vocabulary: Vocabulary,
    *,
    alpha: float = 0.1,
    nbest: int = -1,
    seed: int = 1,
) -> EncodedCorpus:
    return sample_corpus(encoded, vocabulary, vocabulary, alpha=alpha, nbest=nbest, seed=seed)


def texts_of(encoded: EncodedCorpus, vocabulary: Vocabulary) -> Pairs:
    return [(vocabulary.decode(s), vocabulary.decode(t)) for s, t in ids_of(encoded)]


def digest(encoded: EncodedCorpus) -> str:
    return hashlib.sha256(repr(ids_of(encoded)).encode()).hexdigest()


def test_sampling_cuts_the_same_pairs_otherwise(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    pairs[3:3] = [("", "A man")] * 7
    encoded = encode(write(pairs), vocabulary)
    first, again, other = (sample(encoded, vocabulary, seed=seed) for seed in (1, 1, 2))
    assert ids_of(first) == ids_of(again)
    assert first.fingerprint == again.fingerprint
    assert len({encoded.fingerprint, first.fingerprint, other.fingerprint}) == 3
    assert first.lines.tolist() == encoded.lines.tolist()
    assert texts_of(first, vocabulary) == [pair for pair in pairs if pair[0]]
    for side in (0, 1):
        cuts = [[ids[side] for ids in ids_of(each)] for each in (encoded, first, other)]
        assert cuts[0] != cuts[1] != cuts[2] != cuts[0]


def test_each_side_is_cut_by_its_own_vocabulary(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    english = Vocabulary.train([target for _, target in pairs], size=32)
    corpus = write(pairs)
    encoded = encode_corpus(corpus, vocabulary, english, max_length=60, folder=None)
    sampled = sample_corpus(encoded, vocabulary, english, alpha=0.1, nbest=-1, seed=1)
    assert sampled.arrays.target_tokens.tolist() != encoded.arrays.target_tokens.tolist()
    decoded = [(vocabulary.decode(s), english.decode(t)) for s, t in ids_of(sampled)]
    assert decoded == pairs


def test_another_process_draws_the_same_cuts(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    encoded = encode(write(pairs), vocabulary)
    here = digest(sample(encoded, vocabulary))
    assert here != digest(encoded)
    model = tmp_path / "joint.model"
    vocabulary.save(model)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "train")]
    root = Path(__file__).parents[2]
    for _ in range(2):
        there = subprocess.run(
            [*command, str(model)], cwd=root, capture_output=True, check=True, text=True
        )
        assert there.stdout.strip() == here


def test_words_met_before_and_the_size_of_chunks_change_nothing(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encode(write(pairs), vocabulary)
    expected = ids_of(sample(encoded, vocabulary))
    fresh = Vocabulary(vocabulary._model)
    monkeypatch.setattr(sampling, "CHUNK", 5)
    sample(encode(write(pairs[::-1]), fresh), fresh)
    assert ids_of(sample(encoded, fresh)) == expected


def test_equal_pairs_are_cut_independently_throughout(write: Write, vocabulary: Vocabulary) -> None:
    text = "Ein Mädchen wartet im Garten."
    cuts = ids_of(sample(encode(write([(text, text)] * 20), vocabulary), vocabulary))
    assert len({tuple(source) for source, _ in cuts}) > 15
    assert [source for source, _ in cuts] != [target for _, target in cuts]


def test_sampling_keeps_a_pair_whose_cut_is_longer_than_allowed(
    write: Write, vocabulary: Vocabulary
) -> None:
    corpus = write([("Ein Mädchen wartet im Garten.", "A girl waits in the garden.")] * 20)
    length = max(map(len, map(vocabulary.encode, next(corpus.pairs()))))
    encoded = encode_corpus(corpus, vocabulary, vocabulary, max_length=length, folder=None)
    sampled = sample(encoded, vocabulary)
    assert len(sampled) == 20
    assert sampled.source_lengths.max() > length


def cuts_of(word: str, scores: dict[str, float]) -> Iterator[tuple[list[str], float]]:
    """Every cut of a word into pieces, and its log probability."""
    if not word:
        yield [], 0.0
    for end in range(1, len(word) + 1):
        if word[:end] in scores:
            for rest, score in cuts_of(word[end:], scores):
                yield [word[:end], *rest], scores[word[:end]] + score


@pytest.mark.parametrize(("alpha", "nbest"), [(0.1, -1), (0.5, -1), (1.0, -1), (0.3, 3)])
def test_a_word_is_cut_in_proportion_to_the_cuts_probability_to_the_alpha(
    alpha: float, nbest: int, write: Write, vocabulary: Vocabulary
) -> None:
    processor = spm.SentencePieceProcessor(model_proto=vocabulary._model)
    scores = {processor.id_to_piece(i): processor.get_score(i) for i in range(4, len(vocabulary))}
    cuts = sorted(cuts_of("▁Mann", scores), key=lambda cut: -cut[1])
    assert 3 < len(cuts) <= 64
    chosen_from = cuts if nbest == -1 else cuts[:nbest]
    weights = {tuple(cut): math.exp(alpha * log_prob) for cut, log_prob in chosen_from}
    draws = 40 * 500
    sentence = " ".join(["Mann"] * 40)
    encoded = encode_corpus(
        write([(sentence, "A man")] * 500), vocabulary, vocabulary, max_length=999, folder=None
    )
    found: Counter[tuple[str, ...]] = Counter()
    for source, _ in ids_of(sample(encoded, vocabulary, alpha=alpha, nbest=nbest)):
        words = "\t".join(vocabulary.pieces(source)).split("▁")[1:]
        found.update(tuple(f"▁{word}".strip("\t").split("\t")) for word in words)
    assert set(found) <= set(weights)
    assert sum(found.values()) == draws
    for cut, weight in weights.items():
        expected = weight / sum(weights.values())
        deviation = math.sqrt(expected * (1 - expected) / draws)
        assert found[cut] / draws == pytest.approx(expected, abs=5 * deviation), cut


def test_a_large_alpha_leaves_only_the_likeliest_cut(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    encoded = encode(write(pairs), vocabulary)
    assert ids_of(sample(encoded, vocabulary, alpha=1e5)) == ids_of(encoded)
    assert ids_of(sample(encoded, vocabulary, alpha=0.5)) != ids_of(encoded)


def test_words_with_unknown_pieces_stay_as_they_are(
    write: Write, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    pairs = [(f"漢字 {source} Mann漢", target) for source, target in pairs]
    encoded = encode(write(pairs), vocabulary)
    first, last = vocabulary.encode("漢字"), vocabulary.encode("Mann漢")
    assert vocabulary.unk in first and vocabulary.unk in last
    sampled = ids_of(sample(encoded, vocabulary))
    assert sampled != ids_of(encoded)
    for source, _ in sampled:
        assert source[: len(first)] == first
        assert source[-len(last) :] == last


def test_words_with_byte_pieces_stay_as_they_are(write: Write, pairs: Pairs) -> None:
    lines = (line for pair in pairs for line in pair)
    vocabulary = Vocabulary.train(lines, size=310, byte_fallback=True)
    encoded = encode(write([("Ein 漢Mann wartet.", "A man 😀.")] * 20), vocabulary)
    sampled = sample(encoded, vocabulary)
    assert texts_of(sampled, vocabulary) == texts_of(encoded, vocabulary)
    kept = ",".join(map(str, vocabulary.encode("漢Mann")))
    cuts = {",".join(map(str, source)) for source, _ in ids_of(sampled)}
    assert len(cuts) > 5
    assert all(kept in cut for cut in cuts)


def foreign(pairs: Pairs, **options: Any) -> Vocabulary:
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=(line for pair in pairs for line in pair),
        model_writer=model,
        vocab_size=60,
        minloglevel=3,
        **options,
    )
    return Vocabulary(model.getvalue())


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
def test_a_model_with_other_rules_for_spaces_keeps_the_text(
    options: dict[str, bool], write: Write, pairs: Pairs
) -> None:
    vocabulary = foreign(pairs, **options)
    encoded = encode(write([*pairs, ("Ein  Mann ", " A   man")]), vocabulary)
    sampled = sample(encoded, vocabulary)
    assert texts_of(sampled, vocabulary) == texts_of(encoded, vocabulary)
    assert ids_of(sampled) != ids_of(encoded)
