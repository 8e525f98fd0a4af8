"""Text in other encodings, blank lines and limits."""

import io
from pathlib import Path

import pytest

from nmt.data import text as text_module
from nmt.data.text import is_blank, list_texts, read_lines
from nmt.errors import UserError


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        list(read_lines(path))
    return str(raised.value)


BLANK = ["", " \t", "\u00a0\u3000", "\u200b\u200e\u2060\ufeff", "\u00ad", "\0", "\x1a", "\x1b"]
IGNORABLE = ["\u2028", "\u2800", "\u3164", "\u034f", "\U000e0020", "\ufe0f", "\u180e\u115f"]


@pytest.mark.parametrize("text", [*BLANK, *IGNORABLE])
def test_line_without_visible_character_is_blank(text: str) -> None:
    assert is_blank(text)
    assert is_blank(f" {text}\u200d")
    assert not is_blank(f"{text}a")


@pytest.mark.parametrize("text", ["a", ".", "\u0301", "가", "𝄞", "\ue000", "\ufffd", "🏽"])
def test_visible_characters_are_not_blank(text: str) -> None:
    assert not is_blank(text)


@pytest.mark.parametrize(
    "text", ["Guten Morgen\nGute Nacht\n", "\nGuten Morgen\n", "日本\nab cd\n"]
)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_other_encodings_are_named_with_remedy(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "text"
    path.write_bytes(text.encode(encoding))
    message = error_of(path)
    if text.isascii():
        assert "iconv -f UTF-" in message
    assert message.startswith(f"{path}:")
    assert "to UTF-8" in message


@pytest.mark.parametrize(
    ("rest", "lines"), [(b"", []), (b"\n", [""]), (b"a", ["a"]), (b"\na\n", ["", "a"])]
)
def test_byte_order_mark_is_no_line(tmp_path: Path, rest: bytes, lines: list[str]) -> None:
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbf" + rest)
    assert list(read_lines(tmp_path / "text")) == lines


def test_lines_that_end_in_cr_alone_are_named(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"Guten Morgen\rGute Nacht\r")
    assert error_of(path).startswith(f"{path}:1: lines end in CR alone; convert them")
    path.write_bytes(b"Guten Morgen\r")
    assert list(read_lines(path)) == ["Guten Morgen\r"]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_line_beyond_the_limit_is_reported_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(text_module, "MAX_LINE_BYTES", 10)
    path = tmp_path / "text"
    path.write_bytes(b"123456789\n1234567890" + end)
    lines = list(read_lines(path)) if not end else None
    assert lines in (None, ["123456789", "1234567890"])
    path.write_bytes(b"a\n" * 3 + b"12345678901" + end)
    assert error_of(path).startswith(f"{path}:4: the line has more than 10 bytes")
    stream = io.BytesIO(b"a\n" + b"x" * 1000)
    with pytest.raises(UserError, match="<stdin>:2: the line has more"):
        list(read_lines(stream, "<stdin>"))
    assert stream.tell() == 13


@pytest.mark.parametrize("name", ["x" * 300, "a/b", "x\0y"])
def test_names_that_the_system_refuses_are_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_text("")
    assert "cannot read: " in error_of(tmp_path / name)


def test_odd_lines_with_nul_characters_are_text(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\n" * 10 + b"\0a" * 8 + b"\n" + b" \0" * 3 + b"\n")
    assert list(read_lines(path))[-2:] == ["\0a" * 8, " \0" * 3]


def test_a_text_or_an_iterable_of_texts_becomes_a_list() -> None:
    assert list_texts("가") == ["가"]
    assert list_texts(text for text in ("a", "")) == ["a", ""]


@pytest.mark.parametrize("texts", [3, None, b"x", ["x", None], [Path("x")]])
def test_values_that_are_no_text_are_named(texts: object) -> None:
    with pytest.raises(UserError, match=r"got (int|NoneType|\w*Path)$"):
        list_texts(texts)
