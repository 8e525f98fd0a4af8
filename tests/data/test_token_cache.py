"""The cache of tokenized corpora: when it is used, and when it is replaced."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

import numpy as np
import pytest

from nmt.data import text as text_module
from nmt.data.corpus import Corpus, CorpusPart, find_corpus
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from tests.data.corpora import Pairs, Write, ids_of


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record the text files that are opened."""
    opened: list[Path] = []
    open_text = text_module.open_text

    def spy(path: Path) -> AbstractContextManager[BufferedReader]:
        opened.append(path)
        return open_text(path)

    monkeypatch.setattr(text_module, "open_text", spy)
    return opened


def test_cached_corpus_reads_no_text(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path, reads: list[Path]
) -> None:
    corpus, cache_dir = write(pairs), tmp_path / "cache"
    first = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    assert reads == corpus.files
    reads.clear()
    second = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    assert reads == []
    assert ids_of(second) == ids_of(first)
    assert second.stats == first.stats
    assert second.fingerprint == first.fingerprint
    assert second.text_fingerprint == first.text_fingerprint


def test_cached_corpus_equals_corpus_in_memory_and_is_memory_mapped(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus = write(pairs)
    on_disk = tokenize_corpus(
        corpus, vocabulary, vocabulary, max_length=60, cache_dir=tmp_path / "c"
    )
    in_memory = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=None)
    assert in_memory.fingerprint == on_disk.fingerprint
    assert all(map(np.array_equal, in_memory.arrays, on_disk.arrays))
    assert isinstance(on_disk.arrays.source_tokens.base, np.memmap)


def test_changed_text_vocabulary_or_option_is_tokenized_again(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    bpe: Vocabulary,
    tmp_path: Path,
    reads: list[Path],
) -> None:
    corpus, cache_dir = write(pairs), tmp_path / "cache"
    fingerprints = set()

    def encode(*vocabularies: Vocabulary, max_length: int = 60) -> None:
        reads.clear()
        tokenized = tokenize_corpus(
            corpus, *vocabularies, max_length=max_length, cache_dir=cache_dir
        )
        assert reads == corpus.files
        assert tokenized.fingerprint not in fingerprints
        fingerprints.add(tokenized.fingerprint)

    encode(vocabulary, vocabulary)
    encode(vocabulary, bpe)
    encode(bpe, vocabulary)
    encode(vocabulary, vocabulary, max_length=59)
    write([*pairs[:-1], ("Ein Mann", "A man")])
    encode(vocabulary, vocabulary)


def test_file_changed_in_place_is_read_again(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus, cache_dir = write([("Ein Mann", "A man")] * 3), tmp_path / "cache"
    tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    later = corpus.files[1].stat().st_mtime_ns + 1
    write([("Ein Mann", "A nam")] * 3)
    os.utime(corpus.files[1], ns=(later, later))
    tokenized = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    assert tokenized[0][1].tolist() == vocabulary.encode("A nam")


def test_change_with_restored_size_and_modification_time_is_detected(
    write: Write, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus, cache_dir = write([("Ein Mann", "A man")] * 3), tmp_path / "cache"
    tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    before = corpus.files[1].stat()
    write([("Ein Mann", "A nam")] * 3)
    os.utime(corpus.files[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    tokenized = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    assert tokenized[0][1].tolist() == vocabulary.encode("A nam")


def test_added_or_removed_shard_is_detected(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    cache_dir, shards = tmp_path / "cache", write(pairs).parts[0].shards
    for count in (1, 2, 1):
        corpus = Corpus((CorpusPart("", shards * count),))
        tokenized = tokenize_corpus(
            corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir
        )
        assert len(tokenized) == count * len(pairs)


def test_other_parts_of_the_same_text_are_another_corpus(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    cache_dir, whole = tmp_path / "cache", write(pairs)
    (part,) = whole.parts
    sizes = {}
    for _ in range(2):  # written, then read
        for corpus in (
            Corpus((replace(part, shards=part.shards * 3),)),
            Corpus((part, replace(part, shards=part.shards * 2))),
            Corpus((replace(part, shards=part.shards * 2), part)),
            Corpus((replace(part, shards=part.shards * 2), replace(part, tag="Ein"))),
        ):
            tokenized = tokenize_corpus(
                corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir
            )
            assert len(tokenized) == 3 * len(pairs)
            sizes[tokenized.fingerprint] = tokenized.part_sizes
    n = len(pairs)
    assert list(sizes.values()) == [(3 * n,), (n, 2 * n), (2 * n, n), (2 * n, n)]


def test_flipped_bit_is_found_whatever_the_modification_time(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    tmp_path: Path,
    reads: list[Path],
    log_text: pytest.LogCaptureFixture,
) -> None:
    corpus, cache_dir = write(pairs), tmp_path / "cache"
    first = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    entry = cache_dir / first.fingerprint
    for file in sorted(entry.glob("*.npy")):
        before, time = file.read_bytes(), file.stat().st_mtime_ns
        # In the header, which NumPy would fail to read, and in the data.
        for position in (0, 8, len(before) - 1):
            data = bytearray(before)
            data[position] ^= 1
            file.write_bytes(bytes(data))
            os.utime(file, ns=(time, time))
            reads.clear()
            log_text.clear()
            again = tokenize_corpus(
                corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir
            )
            assert reads == corpus.files, (file.name, position)
            assert f"{entry}: is damaged" in log_text.text
            assert ids_of(again) == ids_of(first)


def test_same_text_under_another_name_shares_the_cache_entry(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    cache_dir = tmp_path / "cache"
    tokenize_corpus(write(pairs), vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    table = tmp_path / "train.tsv"
    table.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), "utf-8")
    tokenize_corpus(
        find_corpus(table, "de", "en"), vocabulary, vocabulary, max_length=60, cache_dir=cache_dir
    )
    assert len([path for path in cache_dir.iterdir() if path.is_dir()]) == 1


def flip_a_bit(entry: Path) -> None:
    path = entry / "source_tokens.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(entry: Path) -> None:
    os.truncate(entry / "target_offsets.npy", 150)


def remove_a_file(entry: Path) -> None:
    (entry / "lines.npy").unlink()


def corrupt_the_metadata(entry: Path) -> None:
    (entry / "seal.json").write_text("{", encoding="utf-8")


def corrupt_the_index(entry: Path) -> None:
    for index in entry.parent.glob("*.index"):
        index.write_bytes(b"\xff\0")


@pytest.mark.parametrize(
    "corrupt", [flip_a_bit, truncate, remove_a_file, corrupt_the_metadata, corrupt_the_index]
)
def test_corrupt_cache_entry_is_replaced(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    tmp_path: Path,
    reads: list[Path],
    corrupt: Callable[[Path], None],
) -> None:
    corpus, cache_dir = write(pairs), tmp_path / "cache"
    first = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
    expected = ids_of(first)
    corrupt(cache_dir / first.fingerprint)
    for files_read in (corpus.files, []):
        reads.clear()
        again = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir)
        assert reads == files_read
        assert ids_of(again) == expected
        assert again.stats == first.stats


def test_cache_directory_that_is_a_file_raises_user_error(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus = write(pairs)
    with pytest.raises(UserError, match=r"train\.de: cannot write here"):
        tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=corpus.files[0])


def test_removed_text_file_raises_user_error(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus = write(pairs)
    corpus.files[0].unlink()
    with pytest.raises(UserError, match=r"train\.de: cannot read"):
        tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=tmp_path / "cache")
