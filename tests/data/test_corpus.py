"""Reading text: line ends, invalid UTF-8, pairs and blocks."""

import gzip
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.data import corpus as corpus_module
from nmt.data.corpus import Corpus, CorpusPart, find_corpus, find_part
from nmt.data.text import read_lines
from nmt.errors import UserError


def write_file(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def error_of(corpus: Corpus) -> str:
    with pytest.raises(UserError) as raised:
        list(corpus.pairs())
    return str(raised.value)


@pytest.mark.parametrize("name", ["text", "text.gz"])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\n\nb\n\n", ["a", "", "b", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\nc\r\r\nd\r", ["a\rb", "c\r", "d\r"]),
        ("a\u2028b\u2029c\x85d\n".encode(), ["a\u2028b\u2029c\x85d"]),
        (b"a\x0bb\x0cc\x1cd\x1de\x1ef\n", ["a\x0bb\x0cc\x1cd\x1de\x1ef"]),
        (b"a\0b\n", ["a\0b"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"  a \t\n", ["  a \t"]),
    ],
)
def test_lines_end_only_at_lf_and_crlf(
    tmp_path: Path, name: str, content: bytes, lines: list[str]
) -> None:
    assert list(read_lines(write_file(tmp_path / name, content))) == lines


def test_stream_is_read_lazily_and_stays_open() -> None:
    stream = io.BytesIO("ä\nb\n".encode())
    lines = read_lines(stream, "<stdin>")
    assert next(lines) == "ä"
    assert stream.tell() == 3
    assert list(lines) == ["b"]
    assert not stream.closed


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"a\nb\n123456\xff\n", "3", "byte 7 is not UTF-8 (0xff)"),
        ("ä\n".encode("latin-1"), "1", "byte 1 is not UTF-8 (0xe4)"),
        (b"\xef\xbb\xbfab\xc3\n", "1", "byte 6 is not UTF-8 (0xc3)"),
        (b"a\n" + "漢".encode()[:2], "2", "byte 1 is not UTF-8 (0xe6)"),
        (b"\xed\xa0\x80\n", "1", "byte 1 is not UTF-8 (0xed)"),
        ("漢a".encode() + b"\x80\n", "1", "byte 5 is not UTF-8 (0x80)"),
    ],
)
def test_invalid_utf8_error_names_file_line_and_byte(
    tmp_path: Path, content: bytes, line: str, message: str
) -> None:
    for path in (write_file(tmp_path / "text", content), write_file(tmp_path / "text.gz", content)):
        with pytest.raises(UserError) as raised:
            list(read_lines(path))
        assert str(raised.value) == f"{path}:{line}: {message}; convert the file to UTF-8"
    with pytest.raises(UserError, match=f"^<stdin>:{line}: "):
        list(read_lines(io.BytesIO(content), "<stdin>"))


def test_unreadable_file_error_names_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: cannot read: No such file"):
        list(read_lines(tmp_path / "none"))
    with pytest.raises(UserError, match="cannot read: Is a directory"):
        list(read_lines(tmp_path))
    complete = gzip.compress(b"a\n" * 1000)
    (tmp_path / "cut.gz").write_bytes(complete[:-12])
    (tmp_path / "plain.gz").write_bytes(b"a\n")
    for name in ("cut.gz", "plain.gz"):
        with pytest.raises(UserError, match=f"{name}: is corrupt"):
            list(read_lines(tmp_path / name))


def test_spec_names_two_files_plain_or_compressed(tmp_path: Path) -> None:
    source = write_file(tmp_path / "train.de", b"ein\nzwei\n")
    target = write_file(tmp_path / "train.en.gz", b"one\ntwo\n")
    corpus = find_corpus(tmp_path / "train", "de", "en")
    assert corpus.files == [source, target]
    assert list(corpus.pairs()) == [("ein", "one"), ("zwei", "two")]


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
def test_spec_names_file_of_tab_separated_pairs(tmp_path: Path, name: str) -> None:
    path = write_file(tmp_path / name, b"ein\tone\n\ttwo\ndrei\t\n")
    corpus = find_corpus(path, "de", "en")
    assert corpus.files == [path]
    assert list(corpus.pairs()) == [("ein", "one"), ("", "two"), ("drei", "")]


@pytest.mark.parametrize(("line", "columns"), [(b"zwei two", 1), (b"zwei\ttwo\t2", 3)])
def test_line_without_two_columns_raises_user_error(
    tmp_path: Path, line: bytes, columns: int
) -> None:
    path = write_file(tmp_path / "pairs.tsv", b"ein\tone\n" + line + b"\n")
    message = error_of(find_corpus(path, "de", "en"))
    assert message == (
        f"{path}:2: expected 2 columns, got {columns}; write source, one tab, target, or select "
        "the columns with data.columns: [1, 2]"
    )


@pytest.mark.parametrize(("sources", "targets"), [(3, 5), (5, 3), (0, 1), (4, 3)])
def test_unequal_sides_error_names_both_files_and_counts(
    tmp_path: Path, sources: int, targets: int
) -> None:
    source = write_file(tmp_path / "train.de", b"x\n" * sources)
    target = write_file(tmp_path / "train.en", b"y\n" * targets)
    message = error_of(find_corpus(tmp_path / "train", "de", "en"))
    assert message.startswith(f"{source}: has {sources} lines, but {target} has {targets}; ")


def test_several_specs_are_read_in_given_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_file(tmp_path / f"part-{name}.de", f"{name}\n".encode())
        write_file(tmp_path / f"part-{name}.en.gz", f"{name.upper()}\n".encode())
    write_file(tmp_path / "extra.tsv", b"x\tX\n")
    specs = [tmp_path / name for name in ("part-b", "extra.tsv", "part-*")]
    corpus = find_corpus(specs, "de", "en")
    assert list(corpus.pairs()) == [("b", "B"), ("x", "X"), ("a", "A"), ("b", "B")]
    assert [path.name for path in corpus.files][:3] == ["part-b.de", "part-b.en.gz", "extra.tsv"]


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 7, 8, 99])
def test_limit_counts_pairs_of_all_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(corpus_module, "BLOCK_PAIRS", 2)
    for name, lines in (("a", b"1\n2\n3\n4\n"), ("b", b"5\n6\n7\n8\n")):
        write_file(tmp_path / f"{name}.de", lines)
        write_file(tmp_path / f"{name}.en", lines)
    corpus = find_corpus(tmp_path / "[ab]", "de", "en").limited(limit)
    assert list(corpus.pairs()) == [(digit, digit) for digit in "12345678"[:limit]]


@pytest.mark.parametrize(("limit", "shares"), [(None, (3, 2)), (3, (2, 2)), (1, (1, 1))])
def test_parts_have_tags_and_shares_of_a_limit(
    tmp_path: Path, limit: int | None, shares: tuple[int, int]
) -> None:
    write_file(tmp_path / "a.de", "eins\n\u200b\ndrei\n".encode())
    write_file(tmp_path / "a.en", b"one\ntwo\nthree\n")
    write_file(tmp_path / "b.tsv", b"vier\tquatre\ncinq\tfive\n")
    corpus = Corpus(
        (
            find_part(tmp_path / "a", "de", "en", tag="<2en>"),
            find_part(tmp_path / "b.tsv", "de", "fr"),
        )
    ).limited(limit)
    # A line without visible characters stays one.
    tagged = [("<2en> eins", "one"), ("\u200b", "two"), ("<2en> drei", "three")][: shares[0]]
    plain = [("vier", "quatre"), ("cinq", "five")][: shares[1]]
    assert list(corpus.pairs()) == tagged + plain
    assert next(corpus.untagged().pairs()) == ("eins", "one")
    assert corpus.location(shares[0]) == f"{tmp_path / 'b.tsv'}:1"


TEXTS = st.lists(st.sampled_from(["a", "ä", "漢", "\r", "\n", "\r\n", "\u2028", "\x85", "\ufeff"]))


@given(texts=TEXTS, size=st.integers(1, 4))
def test_lines_do_not_depend_on_block_size(texts: list[str], size: int) -> None:
    text = "".join(texts)
    *complete, last = text.split("\n")
    expected = [line.removesuffix("\r") for line in complete] + [last] * bool(last)
    if text == "\ufeff":
        expected = []  # a text of nothing but the byte order mark is empty
    expected[:1] = [line.removeprefix("\ufeff") for line in expected[:1]]
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "BLOCK_PAIRS", size)
        path = write_file(Path(directory) / "text.de", text.encode())
        if not complete and "\r" in last.strip("\r"):
            return  # only CR ends its lines, which is an error
        blocks = list(CorpusPart("", ((path, path),)).blocks())
        assert list(read_lines(path)) == expected
    assert [line for sources, _ in blocks for line in sources] == expected
    assert all(sources == targets for sources, targets in blocks)
    assert [len(sources) for sources, _ in blocks[:-1]] == [size] * (len(blocks) - 1)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_errors_after_first_block_have_correct_location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bytes
) -> None:
    monkeypatch.setattr(corpus_module, "BLOCK_PAIRS", 3)
    write_file(tmp_path / "train.de", (b"a" + ends) * 8)
    target = write_file(tmp_path / "train.en", (b"b" + ends) * 7 + b"c\xff" + ends)
    corpus = find_corpus(tmp_path / "train", "de", "en")
    assert error_of(corpus).startswith(f"{target}:8: byte 2 is not UTF-8 (0xff)")
    write_file(target, (b"b" + ends) * 10)
    source = tmp_path / "train.de"
    assert error_of(corpus).startswith(f"{source}: has 8 lines, but {target} has 10; ")
    table = write_file(tmp_path / "pairs.tsv", (b"a\tb" + ends) * 7 + b"c" + ends)
    assert error_of(find_corpus(table, "de", "en")).startswith(
        f"{table}:8: expected 2 columns, got 1"
    )


def test_empty_list_of_specs_raises_user_error() -> None:
    with pytest.raises(UserError, match="list of corpora is empty"):
        find_corpus([], "de", "en")


def test_missing_file_error_suggests_similar_names(tmp_path: Path) -> None:
    for name in ("train.de", "train.eng", "valid.de", "notes.txt"):
        write_file(tmp_path / name, b"x\n")
    with pytest.raises(UserError) as raised:
        find_corpus(tmp_path / "train", "de", "en")
    message = str(raised.value)
    assert message.startswith(
        f"{tmp_path}/train.en: not found, plain or compressed; similar names:"
    )
    assert "train.eng" in message
    assert "notes.txt" not in message
    with pytest.raises(UserError, match=r"similar names: .*valid\.de"):
        find_corpus(tmp_path / "vaild", "de", "en")
    (tmp_path / "valid.en").touch()
    (tmp_path / "valid.xx").touch()
    with pytest.raises(UserError, match=r"similar names: valid\.xx, .*valid\.en"):
        find_corpus(tmp_path / "vaild", "xx", "en")
    with pytest.raises(UserError, match="nothing similar in"):
        find_corpus(tmp_path / "quux", "ja", "zh")
    with pytest.raises(UserError, match=r"directory .*elsewhere does not exist"):
        find_corpus(tmp_path / "elsewhere" / "train", "de", "en")
