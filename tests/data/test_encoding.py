"""Encoding: the ids, and which pairs are kept."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nmt.data import encoding
from nmt.data.cache import encode_corpus
from nmt.data.corpus import Corpus
from nmt.data.encoded import Arrays, EncodedCorpus, EncodingWriter, Report, memory_array
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError

Pairs = list[tuple[str, str]]
Write = Callable[[Pairs], Corpus]


def ids_of(encoded: EncodedCorpus) -> list[tuple[list[int], list[int]]]:
    return [(encoded.source(i).tolist(), encoded.target(i).tolist()) for i in range(len(encoded))]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK", 5)


@pytest.mark.parametrize("kept_in", ["memory", "folder"])
@pytest.mark.usefixtures("small_chunks")
def test_ids_are_those_of_the_vocabularies(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    bpe: Vocabulary,
    tmp_path: Path,
    kept_in: str,
) -> None:
    folder = tmp_path / "cache" if kept_in == "folder" else None
    encoded = encode_corpus(write(pairs), vocabulary, bpe, max_length=60, folder=folder)
    expected = [(vocabulary.encode(source), bpe.encode(target)) for source, target in pairs]
    assert ids_of(encoded) == expected
    assert encoded.source_lengths.tolist() == [len(source) for source, _ in expected]
    assert encoded.target_lengths.tolist() == [len(target) for _, target in expected]
    assert encoded.lines.tolist() == list(range(len(pairs)))
    assert encoded.report == Report(read=len(pairs), kept=len(pairs))
    assert encoded.arrays.source_tokens.dtype == np.uint16


@pytest.mark.usefixtures("small_chunks")
def test_empty_and_long_pairs_are_left_out_and_counted(
    write: Write, vocabulary: Vocabulary
) -> None:
    good, long = ("Ein Mann", "A man"), " ".join(["Straße"] * 30)
    pairs = [good, ("", "A man"), (long, "A man"), good, ("Ein Mann", " \u2028\t"), ("", long)]
    pairs += [good, ("Ein Mann", long)] + [("", "")] * 6
    encoded = encode_corpus(write(pairs), vocabulary, vocabulary, max_length=20, folder=None)
    assert encoded.report == Report(
        read=14,
        kept=3,
        empty=9,
        too_long=2,
        empty_lines=[2, 5, 6, 9, 10],
        too_long_lines=[3, 8],
    )
    assert str(encoded.report) == (
        "14 pairs read, 3 kept; 9 with an empty side (lines 2, 5, 6, 9, 10, ...); "
        "2 too long (lines 3, 8)"
    )
    assert encoded.lines.tolist() == [0, 3, 6]
    expected = (vocabulary.encode("Ein Mann"), vocabulary.encode("A man"))
    assert ids_of(encoded) == [expected] * 3


def test_a_side_of_white_space_is_empty_even_where_that_has_pieces(write: Write) -> None:
    untouched = Vocabulary.train(["Ein Mann"], size=100, type="char", normalization="identity")
    assert untouched.encode("\u3000")
    pairs = [("Ein Mann", "\u3000"), ("Ein Mann", "Ein Mann")]
    encoded = encode_corpus(write(pairs), untouched, untouched, max_length=60, folder=None)
    assert encoded.report == Report(read=2, kept=1, empty=1, empty_lines=[1])


def test_the_longest_pair_allowed_has_exactly_max_length(
    write: Write, vocabulary: Vocabulary
) -> None:
    corpus = write([("Ein Mann", "A man"), ("Eine Frau wartet im Garten", "A man")])
    length = len(vocabulary.encode("Eine Frau wartet im Garten"))
    kept = encode_corpus(corpus, vocabulary, vocabulary, max_length=length, folder=None)
    less = encode_corpus(corpus, vocabulary, vocabulary, max_length=length - 1, folder=None)
    assert (len(kept), len(less)) == (2, 1)


@pytest.mark.parametrize("pairs", [[], [("", "A man")], [("Ein Mann " * 9, "A man")]])
def test_nothing_left_is_an_error(
    write: Write, vocabulary: Vocabulary, tmp_path: Path, pairs: Pairs
) -> None:
    with pytest.raises(UserError, match=r"train\.de: no pair is left: \d pairs read, 0 kept"):
        encode_corpus(
            write(pairs), vocabulary, vocabulary, max_length=10, folder=tmp_path / "cache"
        )


@pytest.mark.parametrize(("size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_of_large_vocabularies_survive(size: int, dtype: type[np.generic]) -> None:
    streams = {name: io.BytesIO() for name in Arrays._fields}
    writer = EncodingWriter(streams, (size, 10))
    writer.add([[size - 1, 5]], [[9]], np.array([0]))
    writer.finish()
    tokens = memory_array(streams["source_tokens"])
    assert tokens.dtype == dtype
    assert tokens.tolist() == [size - 1, 5]
