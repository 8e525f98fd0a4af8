"""Encoding: the ids, and which pairs are kept."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nmt.data import corpus as reading
from nmt.data import encoding
from nmt.data.cache import encode_corpus
from nmt.data.encoded import Arrays, EncodingWriter, Report, Sentences, memory_array
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from tests.data.encodings import Pairs, Write, ids_of


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK", 5)
    monkeypatch.setattr(encoding, "FEW", 1)


@pytest.mark.parametrize("kept_in", ["memory", "folder"])
@pytest.mark.usefixtures("small_blocks")
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


@pytest.mark.usefixtures("small_blocks")
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


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("processes", [2, 3, pytest.param(20, marks=pytest.mark.slow)])
def test_the_arrays_are_the_same_whatever_the_number_of_processes(
    write: Write,
    pairs: Pairs,
    vocabulary: Vocabulary,
    bpe: Vocabulary,
    tmp_path: Path,
    processes: int,
) -> None:
    pairs[7:7] = [("", "A man"), ("Ein Mann", "A man " * 40)] * 4
    corpus = write(pairs)
    folders = [tmp_path / "alone", tmp_path / "together"]
    alone, together = (
        encode_corpus(corpus, vocabulary, bpe, max_length=60, folder=folder, processes=count)
        for folder, count in zip(folders, (1, processes), strict=True)
    )
    assert alone.report == together.report
    assert alone.report.too_long == alone.report.empty == 4
    assert alone.fingerprint == together.fingerprint
    written = [
        {file.name: file.read_bytes() for file in folder.rglob("*.npy")} for folder in folders
    ]
    assert len(written[0]) == 5
    assert written[0] == written[1]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_far_into_the_text_ends_all_processes_and_leaves_nothing(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path, processes: int
) -> None:
    corpus, folder = write(pairs), tmp_path / "cache"
    whole = corpus.files[1].read_bytes()
    corpus.files[1].write_bytes(whole.removesuffix(b"\n") + b"\xff\n")
    with pytest.raises(UserError, match=r"train\.en:48: byte \d+ is not UTF-8"):
        encode_corpus(
            corpus, vocabulary, vocabulary, max_length=60, folder=folder, processes=processes
        )
    assert list(folder.iterdir()) == []


ENDLESS = """
import sys
from pathlib import Path
from nmt.data.cache import encode_corpus
from nmt.data.corpus import Corpus
from nmt.data.vocabulary import Vocabulary

class Endless(Corpus):
    def blocks(self):
        for number in iter(int, 1):
            yield ["Ein Mann"] * 1000, ["A man"] * 1000
            print(flush=True)

def main():
    model = Vocabulary.load(sys.argv[1])
    corpus = Endless(((Path(sys.argv[1]),),))
    encode_corpus(corpus, model, model, max_length=9, folder=Path(sys.argv[2]), processes=2)
    return 0

from nmt.cli.common import run
sys.exit(run("nmt-train", main))
"""


def test_an_interrupt_leaves_nothing_half_written(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path / "a.model")
    folder = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path / "a.model"), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    (scratch,) = folder.iterdir()
    assert (scratch / "source_tokens.npy").stat().st_size
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "nmt-train: interrupted\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_of_large_vocabularies_survive(size: int, dtype: type[np.generic]) -> None:
    streams = {name: io.BytesIO() for name in Arrays._fields}
    writer = EncodingWriter(streams, (size, 10))
    sources, targets = Sentences.of([[size - 1, 5]], size), Sentences.of([[9]], 10)
    writer.add(sources, targets, np.array([0]))
    writer.finish()
    tokens = memory_array(streams["source_tokens"])
    assert tokens.dtype == dtype
    assert tokens.tolist() == [size - 1, 5]
