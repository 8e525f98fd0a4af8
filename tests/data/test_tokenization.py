"""Tokenization: token ids, filtering, and worker processes."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nmt.data import corpus as corpus_module
from nmt.data import tokenization
from nmt.data.token_corpus import (
    FilterStats,
    RaggedIds,
    TokenArrays,
    TokenArrayWriter,
    read_npy_buffer,
)
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from tests.data.corpora import Pairs, Write, ids_of


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "BLOCK_PAIRS", 5)
    monkeypatch.setattr(tokenization, "MAX_SERIAL_BLOCKS", 1)


@pytest.mark.parametrize("location", ["memory", "disk"])
@pytest.mark.usefixtures("small_blocks")
def test_token_ids_equal_encoding_of_the_vocabularies(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    bpe: Vocabulary,
    tmp_path: Path,
    location: str,
) -> None:
    cache_dir = tmp_path / "cache" if location == "disk" else None
    tokenized = tokenize_corpus(write(pairs), vocabulary, bpe, max_length=60, cache_dir=cache_dir)
    expected = [(vocabulary.encode(source), bpe.encode(target)) for source, target in pairs]
    assert ids_of(tokenized) == expected
    assert tokenized.source_lengths.tolist() == [len(source) for source, _ in expected]
    assert tokenized.target_lengths.tolist() == [len(target) for _, target in expected]
    assert tokenized.lines.tolist() == list(range(len(pairs)))
    assert tokenized.stats == FilterStats(read=len(pairs), kept=len(pairs))
    assert tokenized.arrays.source_tokens.dtype == np.uint16


@pytest.mark.usefixtures("small_blocks")
def test_empty_and_long_pairs_are_filtered_and_counted(
    write: Write, vocabulary: Vocabulary
) -> None:
    good, long = ("Ein Mann", "A man"), " ".join(["Straße"] * 30)
    pairs = [good, ("", "A man"), (long, "A man"), good, ("Ein Mann", " \u2028\t"), ("", long)]
    pairs += [good, ("Ein Mann", long)] + [("", "")] * 6
    tokenized = tokenize_corpus(write(pairs), vocabulary, vocabulary, max_length=20, cache_dir=None)
    assert tokenized.stats == FilterStats(
        read=14,
        kept=3,
        empty=9,
        too_long=2,
        empty_lines=[2, 5, 6, 9, 10],
        too_long_lines=[3, 8],
    )
    assert str(tokenized.stats) == (
        "14 pairs read, 3 kept; 9 with an empty side (lines 2, 5, 6, 9, 10, ...); "
        "2 too long (lines 3, 8)"
    )
    assert tokenized.lines.tolist() == [0, 3, 6]
    expected = (vocabulary.encode("Ein Mann"), vocabulary.encode("A man"))
    assert ids_of(tokenized) == [expected] * 3


def test_blank_side_is_empty_even_if_it_has_tokens(write: Write) -> None:
    vocabulary = SentencePieceVocabulary.train(
        ["Ein Mann"], size=100, type="char", normalization="identity"
    )
    assert vocabulary.encode("\u3000")
    pairs = [("Ein Mann", "\u3000"), ("Ein Mann", "Ein Mann")]
    tokenized = tokenize_corpus(write(pairs), vocabulary, vocabulary, max_length=60, cache_dir=None)
    assert tokenized.stats == FilterStats(read=2, kept=1, empty=1, empty_lines=[1])


def test_pair_of_max_length_is_kept(write: Write, vocabulary: Vocabulary) -> None:
    corpus = write([("Ein Mann", "A man"), ("Eine Frau wartet im Garten", "A man")])
    length = len(vocabulary.encode("Eine Frau wartet im Garten"))
    kept = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=length, cache_dir=None)
    less = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=length - 1, cache_dir=None)
    assert (len(kept), len(less)) == (2, 1)


@pytest.mark.parametrize("pairs", [[], [("", "A man")], [("Ein Mann " * 9, "A man")]])
def test_corpus_without_kept_pairs_raises_user_error(
    write: Write, vocabulary: Vocabulary, tmp_path: Path, pairs: Pairs
) -> None:
    with pytest.raises(UserError, match=r"train\.de: no pair is kept: \d pairs read, 0 kept"):
        tokenize_corpus(
            write(pairs), vocabulary, vocabulary, max_length=10, cache_dir=tmp_path / "cache"
        )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("processes", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_arrays_do_not_depend_on_the_number_of_processes(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    bpe: Vocabulary,
    tmp_path: Path,
    processes: int,
) -> None:
    pairs[7:7] = [("", "A man"), ("Ein Mann", "A man " * 40)] * 4
    corpus = write(pairs)
    cache_dirs = [tmp_path / "serial", tmp_path / "parallel"]
    serial, parallel = (
        tokenize_corpus(
            corpus, vocabulary, bpe, max_length=60, cache_dir=cache_dir, processes=count
        )
        for cache_dir, count in zip(cache_dirs, (1, processes), strict=True)
    )
    assert serial.stats == parallel.stats
    assert serial.stats.too_long == serial.stats.empty == 4
    assert serial.fingerprint == parallel.fingerprint
    written = [
        {file.name: file.read_bytes() for file in cache_dir.rglob("*.npy")}
        for cache_dir in cache_dirs
    ]
    assert len(written[0]) == 5
    assert written[0] == written[1]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("processes", [1, 2])
def test_error_in_last_block_ends_processes_and_leaves_no_files(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path, processes: int
) -> None:
    corpus, cache_dir = write(pairs), tmp_path / "cache"
    content = corpus.files[1].read_bytes()
    corpus.files[1].write_bytes(content.removesuffix(b"\n") + b"\xff\n")
    with pytest.raises(UserError, match=r"train\.en:48: byte \d+ is not UTF-8"):
        tokenize_corpus(
            corpus, vocabulary, vocabulary, max_length=60, cache_dir=cache_dir, processes=processes
        )
    assert list(cache_dir.iterdir()) == []


INFINITE_CORPUS = """
import sys
from pathlib import Path
from nmt.data.tokenization import tokenize_corpus
from nmt.data.corpus import Corpus, CorpusPart
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary

class Infinite(CorpusPart):
    def blocks(self):
        for number in iter(int, 1):
            yield ["Ein Mann"] * 1000, ["A man"] * 1000
            print(flush=True)

def main():
    model = SentencePieceVocabulary.load(sys.argv[1])
    corpus = Corpus((Infinite("", ((Path(sys.argv[1]),),)),))
    tokenize_corpus(corpus, model, model, max_length=9, cache_dir=Path(sys.argv[2]), processes=2)
    return 0

from nmt.cli.common import run
sys.exit(run("nmt-train", main))
"""


def test_interrupt_leaves_no_files(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path / "a.model")
    cache_dir = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, "-c", INFINITE_CORPUS, str(tmp_path / "a.model"), str(cache_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    (scratch,) = cache_dir.iterdir()
    assert (scratch / "source_tokens.npy").stat().st_size
    os.killpg(process.pid, signal.SIGINT)  # like Ctrl-C in a terminal
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "nmt-train: interrupted\n")
    assert list(cache_dir.iterdir()) == []


@pytest.mark.parametrize(("size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_id_dtype_fits_large_vocabularies(size: int, dtype: type[np.generic]) -> None:
    streams = {name: io.BytesIO() for name in TokenArrays._fields}
    writer = TokenArrayWriter(streams, (size, 10))
    sources, targets = RaggedIds.from_lists([[size - 1, 5]], size), RaggedIds.from_lists([[9]], 10)
    writer.append(sources, targets, np.array([0]))
    writer.finish()
    tokens = read_npy_buffer(streams["source_tokens"])
    assert tokens.dtype == dtype
    assert tokens.tolist() == [size - 1, 5]
