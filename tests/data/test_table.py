"""Tables of sentence pairs: columns, header rows, quoting and delimiters."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from nmt.data.corpus import Corpus, find_corpus
from nmt.data.table import Column, Table
from nmt.errors import UserError

PAIRS = [("ein", "one"), ("zwei", "two"), ("drei", "three")]


def corpus_of(
    path: Path, text: str, columns: Sequence[Column] | None = None, encoding: str = "utf-8"
) -> Corpus:
    path.write_text(text, encoding=encoding, newline="")
    return find_corpus(path, "de", "en", columns=columns)


def error_of(corpus: Corpus) -> str:
    with pytest.raises(UserError) as raised:
        list(corpus.pairs())
    return str(raised.value)


def table(*rows: Sequence[str], delimiter: str = "\t", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in rows)


LICENSED = [("1", de, en, "CC-BY") for de, en in PAIRS]


def test_columns_are_selected_by_number(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "a.tsv", table(*LICENSED), [2, 3])
    assert list(corpus.pairs()) == PAIRS
    corpus = corpus_of(tmp_path / "a.tsv", table(*LICENSED), [3, 2])
    assert list(corpus.pairs()) == [(en, de) for de, en in PAIRS]


def test_columns_are_selected_by_name(tmp_path: Path) -> None:
    text = table(("id", "German", "English", "license"), *LICENSED)
    corpus = corpus_of(tmp_path / "a.tsv", text, ["German", "English"])
    assert list(corpus.pairs()) == PAIRS
    message = error_of(corpus_of(tmp_path / "a.tsv", text, ["German", "french"]))
    assert message == (
        f"{tmp_path}/a.tsv:1: no column 'french' in the header row; it has: id, German, English, "
        "license"
    )


def test_more_columns_than_two_name_the_option(tmp_path: Path) -> None:
    message = error_of(corpus_of(tmp_path / "a.tsv", table(*LICENSED)))
    assert message.startswith(f"{tmp_path}/a.tsv:1: expected 2 columns, got 4; ")
    assert "select the columns with data.columns: [1, 2]" in message
    message = error_of(corpus_of(tmp_path / "a.tsv", table(*LICENSED), [1, 9]))
    assert f"{tmp_path}/a.tsv:1: expected at least 9 columns, got 4" in message


@pytest.mark.parametrize(
    "names",
    [
        ("de", "en"),
        ("DE", "EN"),
        ("de-CH", "en_US"),
        ("source", "target"),
        ("Quelle", "Ziel"),
        ("원문", "번역"),
        ("Deutsch", "Englisch"),
        ("U\u0308bersetzung", "Text"),
    ],
)
def test_header_row_is_recognized(tmp_path: Path, names: tuple[str, str]) -> None:
    corpus = corpus_of(tmp_path / "a.tsv", table(names, *PAIRS))
    assert list(corpus.pairs()) == PAIRS
    assert corpus.notes() == [
        f"{tmp_path}/a.tsv:1: the first row names the columns and is not a sentence"
    ]
    assert corpus.location(0) == f"{tmp_path}/a.tsv:2"
    assert corpus_of(tmp_path / "a.tsv", table(*PAIRS)).notes() == []


def test_header_row_with_both_languages_selects_their_columns(tmp_path: Path) -> None:
    rows = [(en, "x", de) for de, en in PAIRS]
    corpus = corpus_of(tmp_path / "a.tsv", table(("en", "id", "de"), *rows))
    assert list(corpus.pairs()) == PAIRS


def test_regions_of_both_languages_select_their_columns(tmp_path: Path) -> None:
    rows = [(en, "x", de) for de, en in PAIRS]
    corpus = corpus_of(tmp_path / "a.tsv", table(("en-GB", "id", "de-DE"), *rows))
    assert list(corpus.pairs()) == PAIRS


def test_only_the_columns_that_are_read_decide_on_a_header_row(tmp_path: Path) -> None:
    rows = table(("Nr.", "Quelle", "Ziel", "Lizenz"), *LICENSED)
    assert list(corpus_of(tmp_path / "a.tsv", rows, [2, 3]).pairs()) == PAIRS
    assert len(list(corpus_of(tmp_path / "a.tsv", rows, [1, 3]).pairs())) == 4
    assert [cell for _, (cell,) in Table(tmp_path / "a.tsv", [3]).rows()] == ["one", "two", "three"]
    one = tmp_path / "one.tsv"
    one.write_text("Text\tx\nein\tone\n", encoding="utf-8")
    assert [cell for _, (cell,) in Table(one, [1]).rows()] == ["Text", "ein"]


def test_blank_rows_are_empty_pairs(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "a.tsv", "ein\tone\n\n \nzwei\ttwo\n\n")
    empty = ("", "")
    assert list(corpus.pairs()) == [PAIRS[0], empty, empty, PAIRS[1], empty]
    assert corpus.location(3) == f"{tmp_path}/a.tsv:4"


def test_quotes_of_a_spreadsheet_are_removed(tmp_path: Path) -> None:
    rows = [('"Er sagt ""ja"".\t"', '"He says ""yes""."'), ("ein", "one")]
    corpus = corpus_of(tmp_path / "a.tsv", table(*rows, end="\r\n"))
    assert list(corpus.pairs()) == [('Er sagt "ja".\t', 'He says "yes".'), ("ein", "one")]
    assert corpus.notes() == [
        f"{tmp_path}/a.tsv: cells are quoted as in CSV; the quotes are removed"
    ]
    quoted = [(f'"{de}"', f'"{en}"') for de, en in PAIRS]
    assert list(corpus_of(tmp_path / "a.tsv", table(*quoted)).pairs()) == PAIRS
    named = table(("de", "en"), *quoted)
    assert list(corpus_of(tmp_path / "a.tsv", named).pairs()) == PAIRS


@pytest.mark.parametrize(
    "rows",
    [
        [('"Ja", sagt er.', '"Yes," he says.'), ("ein", "one")],
        [('"Ja."', '"Yes."'), ("ein", "one")],
        [('5"', '5"'), ('"', '"')],
    ],
)
def test_quotations_of_a_text_are_kept(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    corpus = corpus_of(tmp_path / "a.tsv", table(*rows))
    assert list(corpus.pairs()) == rows
    assert corpus.notes() == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_with_its_delimiter(tmp_path: Path, delimiter: str) -> None:
    rows = [("de", "en"), ('"ja, ""so""; gut"', '"yes,\n""so"";\tgood"'), *PAIRS]
    corpus = corpus_of(tmp_path / "a.csv", table(*rows, delimiter=delimiter), None, "utf-8-sig")
    assert list(corpus.pairs()) == [('ja, "so"; gut', 'yes, "so";\tgood'), *PAIRS]
    assert corpus.location(1) == f"{tmp_path}/a.csv:4"


def test_quoted_cell_without_end_is_named(tmp_path: Path) -> None:
    message = error_of(corpus_of(tmp_path / "a.csv", 'ein,one\n"zwei,two\ndrei,three\n'))
    assert message.startswith(f"{tmp_path}/a.csv:2: a quoted cell does not end")
    message = error_of(corpus_of(tmp_path / "a.csv", 'ein,one\n"zwei"x,"two"\n'))
    assert message.startswith(f"{tmp_path}/a.csv:2: is not valid CSV")


@pytest.mark.parametrize(
    ("suffix", "kind"), [("tmx", "translation memory"), ("xlsx", "spreadsheet")]
)
def test_other_formats_are_named(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"memory.{suffix}"
    path.write_text("<tmx/>")
    with pytest.raises(UserError, match=f"memory.{suffix}: is a {kind}"):
        find_corpus(path, "de", "en")


@pytest.mark.parametrize("text", ["", "de\ten\n", "\n"])
def test_table_without_pairs_has_none(tmp_path: Path, text: str) -> None:
    assert set(corpus_of(tmp_path / "a.tsv", text).pairs()) <= {("", "")}
