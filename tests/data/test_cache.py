"""The cache: what is found again, and what is made anew."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nmt.data import corpus as reading
from nmt.data.cache import encode_corpus
from nmt.data.corpus import Corpus, resolve
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.storage import atomic
from tests.data.encodings import Pairs, Write, ids_of


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were opened for reading text."""
    opened: list[Path] = []
    open_file = reading._open

    def spy(path: Path):  # type: ignore[no-untyped-def]
        opened.append(path)
        return open_file(path)

    monkeypatch.setattr(reading, "_open", spy)
    return opened


def test_a_second_start_reads_no_text(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path, reads: list[Path]
) -> None:
    corpus, folder = write(pairs), tmp_path / "cache"
    first = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    assert reads == corpus.files
    reads.clear()
    second = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    assert reads == []
    assert ids_of(second) == ids_of(first)
    assert second.report == first.report
    assert second.fingerprint == first.fingerprint
    assert second.text_fingerprint == first.text_fingerprint


def test_memory_and_folder_agree_and_the_folder_is_mapped(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus = write(pairs)
    on_disk = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=tmp_path / "c")
    in_memory = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=None)
    assert in_memory.fingerprint == on_disk.fingerprint
    assert all(map(np.array_equal, in_memory.arrays, on_disk.arrays))
    assert isinstance(on_disk.arrays.source_tokens.base, np.memmap)


def test_any_change_of_text_vocabulary_or_option_is_seen(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    bpe: Vocabulary,
    tmp_path: Path,
    reads: list[Path],
) -> None:
    corpus, folder = write(pairs), tmp_path / "cache"
    seen = set()

    def encode(*vocabularies: Vocabulary, max_length: int = 60) -> None:
        reads.clear()
        encoded = encode_corpus(corpus, *vocabularies, max_length=max_length, folder=folder)
        assert reads == corpus.files
        assert encoded.fingerprint not in seen
        seen.add(encoded.fingerprint)

    encode(vocabulary, vocabulary)
    encode(vocabulary, bpe)
    encode(bpe, vocabulary)
    encode(vocabulary, vocabulary, max_length=59)
    write([*pairs[:-1], ("Ein Mann", "A man")])
    encode(vocabulary, vocabulary)


def test_a_file_changed_in_place_is_read_again(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus, folder = write([("Ein Mann", "A man")] * 3), tmp_path / "cache"
    encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    later = corpus.files[1].stat().st_mtime_ns + 1
    write([("Ein Mann", "A nam")] * 3)
    os.utime(corpus.files[1], ns=(later, later))
    encoded = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    assert encoded.target(0).tolist() == vocabulary.encode("A nam")


def test_a_change_that_hides_behind_its_old_time_and_size_is_seen(
    write: Write, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus, folder = write([("Ein Mann", "A man")] * 3), tmp_path / "cache"
    encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    before = corpus.files[1].stat()
    write([("Ein Mann", "A nam")] * 3)
    os.utime(corpus.files[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    encoded = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    assert encoded.target(0).tolist() == vocabulary.encode("A nam")


def test_a_shard_more_or_less_is_seen(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    folder, parts = tmp_path / "cache", write(pairs).parts
    for count in (1, 2, 1):
        corpus = Corpus(parts * count)
        encoded = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
        assert len(encoded) == count * len(pairs)


def test_an_encoding_nobody_touched_is_not_read_to_be_trusted(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus, folder = write(pairs), tmp_path / "cache"
    first = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    checked: list[Path] = []
    checksum = atomic._crc32

    def spy(path: Path) -> int:
        checked.append(path)
        return checksum(path)

    monkeypatch.setattr(atomic, "_crc32", spy)
    encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    assert checked == []
    touched = folder / first.fingerprint / "lines.npy"
    os.utime(touched, ns=(1, 1))
    encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    assert checked == [touched]


def test_the_same_text_under_another_name_shares_its_encoding(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    encode_corpus(write(pairs), vocabulary, vocabulary, max_length=60, folder=folder)
    table = tmp_path / "train.tsv"
    table.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), "utf-8")
    encode_corpus(resolve(table, "de", "en"), vocabulary, vocabulary, max_length=60, folder=folder)
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 1


def damage_a_byte(place: Path) -> None:
    path = place / "source_tokens.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_short(place: Path) -> None:
    os.truncate(place / "target_offsets.npy", 150)


def lose_a_file(place: Path) -> None:
    (place / "lines.npy").unlink()


def lose_the_seal(place: Path) -> None:
    (place / "seal.json").write_text("{", encoding="utf-8")


def lose_the_index(place: Path) -> None:
    for index in place.parent.glob("*.index"):
        index.write_bytes(b"\xff\0")


@pytest.mark.parametrize(
    "damage", [damage_a_byte, cut_short, lose_a_file, lose_the_seal, lose_the_index]
)
def test_a_damaged_encoding_is_made_again(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    tmp_path: Path,
    reads: list[Path],
    damage: Callable[[Path], None],
) -> None:
    corpus, folder = write(pairs), tmp_path / "cache"
    first = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
    expected = ids_of(first)
    damage(folder / first.fingerprint)
    for files_read in (corpus.files, []):
        reads.clear()
        again = encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=folder)
        assert reads == files_read
        assert ids_of(again) == expected
        assert again.report == first.report


def test_a_folder_that_cannot_be_written_is_named(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus = write(pairs)
    with pytest.raises(UserError, match=r"train\.de: cannot write here"):
        encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=corpus.files[0])


def test_a_corpus_that_vanished_is_named(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    corpus = write(pairs)
    corpus.files[0].unlink()
    with pytest.raises(UserError, match=r"train\.de: cannot read"):
        encode_corpus(corpus, vocabulary, vocabulary, max_length=60, folder=tmp_path / "cache")
