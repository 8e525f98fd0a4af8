"""Reading text: line ends, broken bytes, pairs, finding files."""

import gzip
import io
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.data import corpus as reading
from nmt.data.corpus import Corpus, read_lines, resolve
from nmt.errors import UserError


def file(path: Path, content: bytes) -> Path:
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
def test_only_lf_and_crlf_end_a_line(
    tmp_path: Path, name: str, content: bytes, lines: list[str]
) -> None:
    assert list(read_lines(file(tmp_path / name, content))) == lines


def test_a_stream_is_read_line_by_line_and_stays_open() -> None:
    stream = io.BytesIO("ä\nb\n".encode())
    lines = read_lines(stream, "<stdin>")
    assert next(lines) == "ä"
    assert stream.tell() == 3
    assert list(lines) == ["b"]
    assert not stream.closed


@pytest.mark.parametrize(
    ("content", "place", "byte"),
    [
        (b"a\nb\n123456\xff\n", "3", "byte 7 is not UTF-8 (0xff)"),
        ("ä\n".encode("latin-1"), "1", "byte 1 is not UTF-8 (0xe4)"),
        (b"\xef\xbb\xbfab\xc3\n", "1", "byte 6 is not UTF-8 (0xc3)"),
        (b"a\n" + "漢".encode()[:2], "2", "byte 1 is not UTF-8 (0xe6)"),
        (b"\xed\xa0\x80\n", "1", "byte 1 is not UTF-8 (0xed)"),
        ("漢a".encode() + b"\x80\n", "1", "byte 5 is not UTF-8 (0x80)"),
    ],
)
def test_a_byte_that_is_not_utf8_is_told_with_file_line_and_byte(
    tmp_path: Path, content: bytes, place: str, byte: str
) -> None:
    for path in (file(tmp_path / "text", content), file(tmp_path / "text.gz", content)):
        with pytest.raises(UserError) as raised:
            list(read_lines(path))
        assert str(raised.value) == f"{path}:{place}: {byte}; convert the file to UTF-8"
    with pytest.raises(UserError, match=f"^<stdin>:{place}: "):
        list(read_lines(io.BytesIO(content), "<stdin>"))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: cannot read: No such file"):
        list(read_lines(tmp_path / "none"))
    with pytest.raises(UserError, match="cannot read: Is a directory"):
        list(read_lines(tmp_path))
    whole = gzip.compress(b"a\n" * 1000)
    (tmp_path / "cut.gz").write_bytes(whole[:-12])
    (tmp_path / "plain.gz").write_bytes(b"a\n")
    for name in ("cut.gz", "plain.gz"):
        with pytest.raises(UserError, match=f"{name}: is damaged"):
            list(read_lines(tmp_path / name))


def test_a_spec_names_two_files_each_plain_or_packed(tmp_path: Path) -> None:
    source = file(tmp_path / "train.de", b"ein\nzwei\n")
    target = file(tmp_path / "train.en.gz", b"one\ntwo\n")
    corpus = resolve(tmp_path / "train", "de", "en")
    assert corpus.files == [source, target]
    assert list(corpus.pairs()) == [("ein", "one"), ("zwei", "two")]


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
def test_a_spec_names_a_file_of_pairs(tmp_path: Path, name: str) -> None:
    path = file(tmp_path / name, b"ein\tone\n\ttwo\ndrei\t\n")
    corpus = resolve(path, "de", "en")
    assert corpus.files == [path]
    assert list(corpus.pairs()) == [("ein", "one"), ("", "two"), ("drei", "")]


@pytest.mark.parametrize(("line", "columns"), [(b"zwei two", 1), (b"zwei\ttwo\t2", 3), (b"", 1)])
def test_a_line_of_pairs_has_two_columns(tmp_path: Path, line: bytes, columns: int) -> None:
    path = file(tmp_path / "pairs.tsv", b"ein\tone\n" + line + b"\n")
    message = error_of(resolve(path, "de", "en"))
    assert message.startswith(f"{path}:2: {columns} column")
    assert "one tab" in message


@pytest.mark.parametrize(("sources", "targets"), [(3, 5), (5, 3), (0, 1), (4, 3)])
def test_unequal_sides_are_told_with_both_counts_and_names(
    tmp_path: Path, sources: int, targets: int
) -> None:
    source = file(tmp_path / "train.de", b"x\n" * sources)
    target = file(tmp_path / "train.en", b"y\n" * targets)
    message = error_of(resolve(tmp_path / "train", "de", "en"))
    assert message.startswith(f"{source}: {sources} lines, but {target} has {targets}; ")


def test_several_specs_are_read_in_the_order_given(tmp_path: Path) -> None:
    for name in ("b", "a"):
        file(tmp_path / f"part-{name}.de", f"{name}\n".encode())
        file(tmp_path / f"part-{name}.en.gz", f"{name.upper()}\n".encode())
    file(tmp_path / "extra.tsv", b"x\tX\n")
    specs = [tmp_path / name for name in ("part-b", "extra.tsv", "part-*")]
    corpus = resolve(specs, "de", "en")
    assert list(corpus.pairs()) == [("b", "B"), ("x", "X"), ("a", "A"), ("b", "B")]
    assert [path.name for path in corpus.files][:3] == ["part-b.de", "part-b.en.gz", "extra.tsv"]


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 7, 8, 99])
def test_a_limit_counts_across_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 2)
    for name, lines in (("a", b"1\n2\n3\n4\n"), ("b", b"5\n6\n7\n8\n")):
        file(tmp_path / f"{name}.de", lines)
        file(tmp_path / f"{name}.en", lines)
    corpus = replace(resolve(tmp_path / "[ab]", "de", "en"), limit=limit)
    assert list(corpus.pairs()) == [(digit, digit) for digit in "12345678"[:limit]]


TEXTS = st.lists(st.sampled_from(["a", "ä", "漢", "\r", "\n", "\r\n", "\u2028", "\x85", "\ufeff"]))


@given(texts=TEXTS, size=st.integers(1, 4))
def test_blocks_hold_the_same_lines_whatever_their_size(texts: list[str], size: int) -> None:
    text = "".join(texts)
    *ended, last = text.split("\n")
    expected = [line.removesuffix("\r") for line in ended] + [last] * bool(last)
    expected[:1] = [line.removeprefix("\ufeff") for line in expected[:1]]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK", size)
        path = file(Path(folder) / "text.de", text.encode())
        blocks = list(Corpus(((path, path),)).blocks())
        assert list(read_lines(path)) == expected
    assert [line for sources, _ in blocks for line in sources] == expected
    assert all(sources == targets for sources, targets in blocks)
    assert [len(sources) for sources, _ in blocks[:-1]] == [size] * (len(blocks) - 1)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_what_is_wrong_far_into_a_file_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bytes
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 3)
    file(tmp_path / "train.de", (b"a" + ends) * 8)
    target = file(tmp_path / "train.en", (b"b" + ends) * 7 + b"c\xff" + ends)
    corpus = resolve(tmp_path / "train", "de", "en")
    assert error_of(corpus).startswith(f"{target}:8: byte 2 is not UTF-8 (0xff)")
    file(target, (b"b" + ends) * 10)
    source = tmp_path / "train.de"
    assert error_of(corpus).startswith(f"{source}: 8 lines, but {target} has 10; ")
    table = file(tmp_path / "pairs.tsv", (b"a\tb" + ends) * 7 + b"c" + ends)
    assert error_of(resolve(table, "de", "en")).startswith(f"{table}:8: 1 column")


def test_no_spec_is_an_error() -> None:
    with pytest.raises(UserError, match="no corpus is given"):
        resolve([], "de", "en")


def test_a_missing_file_is_told_with_what_is_there(tmp_path: Path) -> None:
    for name in ("train.de", "train.eng", "valid.de", "notes.txt"):
        file(tmp_path / name, b"x\n")
    with pytest.raises(UserError) as raised:
        resolve(tmp_path / "train", "de", "en")
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}/train.en: no such file, nor train.en.gz; similar there:")
    assert "train.eng" in message
    assert "notes.txt" not in message
    with pytest.raises(UserError, match=r"similar there: .*valid\.de"):
        resolve(tmp_path / "vaild", "de", "en")
    with pytest.raises(UserError, match="nothing similar in"):
        resolve(tmp_path / "quux", "ja", "zh")
    with pytest.raises(UserError, match=r"there is no folder .*elsewhere"):
        resolve(tmp_path / "elsewhere" / "train", "de", "en")
