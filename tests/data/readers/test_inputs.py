"""Sentence pairs in every format are read alike; malformed files are reported with location."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from nmt.data.readers.inputs import find_inputs
from nmt.data.readers.pair_text import PairText
from nmt.errors import UserError
from tests.commands import PHRASES, lines_of

SOURCES, TARGETS = (lines_of(Path(f"{PHRASES}.{side}")) for side in ("de", "en"))
PAIRS = list(zip(SOURCES, TARGETS, strict=True))
LICENSE = "CC-BY 2.0 (France) Attribution: tatoeba.org #{} (CM)"
Write = Callable[[Path], Path]


def sentences(text: PairText | None) -> list[tuple[str, str]]:
    assert text is not None
    return [(pair.source, pair.target) for pair in text.pairs()]


def write(file: Path, text: str, encoding: str = "utf-8") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(encoding))
    return file


def _rows(row: Callable[[int, str, str], str], header: str = "") -> str:
    return header + "".join(row(i, *pair) + "\n" for i, pair in enumerate(PAIRS))


def _tmx(language: Callable[[str], str] = str) -> str:
    units = "".join(
        f'<tu><tuv xml:lang="{language("de")}"><seg>{de}</seg></tuv>\n'
        f'<tuv xml:lang="{language("en")}"><seg>{en}<ph>{{1}}</ph></seg></tuv></tu>\n'
        for de, en in PAIRS
    )
    return f'<?xml version="1.0"?>\n<tmx><header srclang="de"/>\n<body>{units}</body></tmx>\n'


def _csv(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


TABLES = {
    "two_columns.tsv": _rows(lambda i, de, en: f"{de}\t{en}"),
    "header.tsv": _rows(lambda i, de, en: f"{i}\t{de}\t{en}", "id\tde\ten\n"),
    "license.tsv": _rows(lambda i, de, en: f"{de}\t{en}\t{LICENSE.format(i)}"),
    "tatoeba.tsv": _rows(lambda i, de, en: f"{i}\tdeu\t{de}\t{i + 100}\teng\t{en}"),
    "manythings.txt": _rows(lambda i, de, en: f"{de}\t{en}\t{LICENSE.format(i)}"),
    "names.csv": _rows(lambda i, de, en: f"{_csv(de)},{_csv(en)},x", "German,English,part\n"),
    "huggingface.jsonl": _rows(
        lambda i, de, en: json.dumps({"id": str(i), "translation": {"de": de, "en": en}})
    ),
    "roles.jsonl": _rows(lambda i, de, en: json.dumps({"target": en, "source": de})),
    "memory.tmx": _tmx(),
    "regions.tmx": _tmx({"de": "de-AT", "en": "en_US"}.__getitem__),
}


@pytest.mark.parametrize("name", TABLES)
def test_format_of_one_file_is_recognized(name: str, tmp_path: Path) -> None:
    inputs = find_inputs([write(tmp_path / name, TABLES[name])])
    assert sentences(inputs.train) == PAIRS
    assert inputs.valid is None


@pytest.mark.parametrize("name", ["two_columns.tsv", "header.tsv", "roles.jsonl", "memory.tmx"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_compressed_and_utf_16_files_are_read(
    name: str, suffix: str, encoding: str, tmp_path: Path
) -> None:
    compress: dict[str, Callable[[bytes], bytes]]
    compress = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    file = tmp_path / f"{name}{suffix}"
    file.write_bytes(compress[suffix](TABLES[name].encode(encoding)))
    assert sentences(find_inputs([file]).train) == PAIRS


def _side(side: int) -> str:
    return "".join(f"{pair[side]}\n" for pair in PAIRS)


def test_two_files_are_read_in_the_given_order(tmp_path: Path) -> None:
    de, en = (write(tmp_path / f"a.{s}", _side(i)) for i, s in enumerate(("de", "en")))
    inputs = find_inputs([en, de])
    assert sentences(inputs.train) == [pair[::-1] for pair in PAIRS]
    assert inputs.train.languages == ("en", "de")
    named = find_inputs([en, de], selection=(None, ("de", "en")))
    assert sentences(named.train) == PAIRS


@pytest.mark.parametrize("name", ["corpus", "Books.de-en"])
def test_one_of_two_files_finds_its_translation(name: str, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.{s}", _side(i)) for i, s in enumerate(("de", "en"))]
    write(tmp_path / "corpus.txt", "no language")
    assert sentences(find_inputs([files[0]]).train) == PAIRS


@pytest.mark.parametrize("in_archive", [False, True])
def test_folder_and_archive_have_parts(in_archive: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for part in ("train", "dev", "test_2016"):
        for side, suffix in enumerate(("de", "en")):
            write(folder / f"{part}.{suffix}", _side(side))
    write(folder / "README", "text")
    write(folder / "LICENSE.txt", "text")
    path = folder
    if in_archive:
        path = tmp_path / "opus.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, f"inner/{file.name}")
    inputs = find_inputs([path])
    for text in (inputs.train, inputs.valid, inputs.test):
        assert sentences(text) == PAIRS


@pytest.mark.parametrize("name", ["{}.tsv", "{}.de-en.tsv.gz", "news-{}.tsv", "{}.txt"])
def test_tables_of_a_folder_are_parts_by_their_names(name: str, tmp_path: Path) -> None:
    for part, count in (("train", 40), ("valid", 15), ("test", 5)):
        file = tmp_path / name.format(part)
        text = "".join(f"{de}\t{en}\n" for de, en in PAIRS[:count]).encode()
        file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    inputs = find_inputs([tmp_path])
    assert sentences(inputs.train) == PAIRS[:40]
    assert sentences(inputs.valid) == PAIRS[:15]
    assert sentences(inputs.test) == PAIRS[:5]


def test_languages_select_two_of_three(tmp_path: Path) -> None:
    for suffix, side in (("de", 0), ("en", 1), ("fr", 1)):
        write(tmp_path / f"train.{suffix}", _side(side))
    with pytest.raises(UserError, match=r"3 languages \(de, en, fr\); select .* --languages"):
        find_inputs([tmp_path])
    found = find_inputs([tmp_path], selection=(None, ("en", "de"))).train
    assert sentences(found) == [pair[::-1] for pair in PAIRS]


def test_languages_order_columns_by_their_script(tmp_path: Path) -> None:
    korean = lines_of(Path(f"{PHRASES}.ko"))
    rows = "".join(f"{en}\t{ko}\n" for en, ko in zip(TARGETS, korean, strict=False))
    file = write(tmp_path / "anki.tsv", rows)
    found = find_inputs([file], selection=(None, ("ko", "en"))).train
    assert sentences(found) == list(zip(korean, TARGETS, strict=False))


def test_columns_select_by_number_or_name(tmp_path: Path) -> None:
    file = write(
        tmp_path / "t.tsv", _rows(lambda i, de, en: f"{en} x\t{de}\t{en}", "note\tde\ten\n")
    )
    for columns in ([2, 3], ["de", "en"]):
        assert sentences(find_inputs([file], selection=(columns, None)).train) == PAIRS


MALFORMED = {
    "latin.tsv": (b"a b\tc d\nGr\xfc\xdfe\tgreetings\n", r"latin\.tsv:2: byte 3 is not UTF-8"),
    "cut.tsv": ("a b\tc d\n".encode("utf-16") + b"\n", r"cut\.tsv:2: byte 19 is not UTF-16"),
    "three.tsv": (b"one a\ttwo b\tthree c\n", r"three\.tsv: has 3 columns of text, not 2"),
    "bad.jsonl": (b'{"de": "a", "en": "b"}\n{"de"\n', r"bad\.jsonl:2: is not JSON"),
    "list.jsonl": (b"[1, 2]\n", r"list\.jsonl:1: is not a JSON object"),
    "empty.tsv": (b"", r"empty\.tsv: is empty"),
    "half.jsonl": (b'{"de": "a \\ud83d b", "en": "c d"}\n', r"half\.jsonl:1: has one half of"),
    "names.jsonl": (
        "".join(f'{{"{i}": "a", "x{i}": "b"}}\n' for i in range(501)).encode(),
        r"names\.jsonl: has more than 1000 names",
    ),
    "klingon.tmx": (b'<?xml version="1.0" encoding="klingon"?><tmx/>', r"klingon\.tmx: is in an e"),
    "jis.tmx": (b'<?xml version="1.0" encoding="Shift_JIS"?><tmx/>', r"jis\.tmx: is in an enc"),
    "undeclared.tmx": (
        b'<!DOCTYPE tmx SYSTEM "t.dtd">\n<tmx><body><tu><tuv><seg>a&nbsp;b</seg>',
        r"undeclared\.tmx:2: the entity &nbsp; is not declared",
    ),
    "long.tmx": (b'<tmx a="' + b"x" * (1 << 21), r"long\.tmx:1: has a tag of more than"),
    "page.tmx": (b"<html></html>", r"page\.tmx:1: begins with <html>"),
    "cut.tmx": (b"<tmx><body>", r"cut\.tmx:1: is not valid XML"),
    "one.txt": (b"only text\n", r"one\.txt: has one side"),
    "no.zip": (b"PK\x03\x04 damaged", r"no\.zip: cannot be read"),
    "sheet.xlsx": (b"PK\x03\x04", r"sheet\.xlsx: is a spreadsheet"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_file_is_reported_with_its_location(name: str, tmp_path: Path) -> None:
    content, message = MALFORMED[name]
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(find_inputs([file]).train.pairs())


def test_suffixes_of_a_memory_are_codes_of_languages(tmp_path: Path) -> None:
    file = write(tmp_path / "t.tmx", _tmx().replace('"de', '"../de'))
    assert find_inputs([file]).train.languages == (None, "en")


@pytest.mark.parametrize("name", ["../{}", "/tmp/{}"])
def test_members_of_an_archive_are_named_below_it(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for suffix in ("de", "en"):
            archive.writestr(name.format(f"t.{suffix}"), "a b\n")
    (reader,) = find_inputs([tmp_path / "a.zip"]).train.readers
    assert all(str(file.path).startswith(f"{tmp_path}/a.zip/") for file in reader.files)


@pytest.mark.parametrize(
    "declaration",
    [
        '<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">',
        '<!ENTITY b SYSTEM "secret.txt">',
        '<!ENTITY % b SYSTEM "secret.dtd">',
    ],
)
def test_tmx_with_entities_is_refused(declaration: str, tmp_path: Path) -> None:
    write(tmp_path / "secret.txt", "secret")
    text = _tmx().replace("<tmx>", f"<!DOCTYPE tmx [{declaration}]><tmx>", 1)
    file = write(tmp_path / "bomb.tmx", text.replace(SOURCES[0], "&b;", 1))
    with pytest.raises(UserError, match=r"bomb\.tmx:2: declares an XML entity"):
        find_inputs([file])


def test_tmx_with_an_external_document_type_is_read_without_it(tmp_path: Path) -> None:
    text = _tmx().replace("<tmx>", '<!DOCTYPE tmx SYSTEM "tmx14.dtd"><tmx>', 1)
    assert sentences(find_inputs([write(tmp_path / "a.tmx", text)]).train) == PAIRS


def test_archive_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.data.readers.input_file.MIN_BOMB_BYTES", 10_000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.de", "x\n" * 100_000)
    with pytest.raises(UserError, match="expands to more than 200 times its size"):
        find_inputs([path])


def test_damaged_archive_is_a_user_error(tmp_path: Path) -> None:
    path, random, damaged = tmp_path / "a.zip", Random(1), 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for side, suffix in enumerate(("de", "en")):
            archive.writestr(f"a.{suffix}", _side(side))
    intact = path.read_bytes()
    for _ in range(150):
        content = bytearray(intact)
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(content)
        try:
            assert len(sentences(find_inputs([path]).train)) == len(PAIRS)
        except UserError:
            damaged += 1
    assert damaged > 50


@pytest.mark.parametrize("longer", [0, 1])
def test_sides_of_different_lengths_are_counted(longer: int, tmp_path: Path) -> None:
    texts = [_side(0), _side(1)]
    texts[longer] += "one\ntwo\nthree\n"
    files = [write(tmp_path / f"a.{i}", text) for i, text in enumerate(texts)]
    counts = [len(PAIRS) + 3 * (i == longer) for i in range(2)]
    with pytest.raises(UserError, match=rf"has {counts[0]} lines, but .*a\.1 has {counts[1]}"):
        list(find_inputs(files).train.pairs())


def test_parquet_is_read_with_pyarrow(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    flat = pyarrow.table({"id": list(range(len(PAIRS))), "en": TARGETS, "de": SOURCES})
    nested = pyarrow.table({"translation": [{"de": de, "en": en} for de, en in PAIRS]})
    for name, table in (("flat", flat), ("nested", nested)):
        file = tmp_path / f"{name}.parquet"
        pyarrow.parquet.write_table(table, file)
        assert sentences(find_inputs([file], selection=(None, ("de", "en"))).train) == PAIRS


def test_parquet_without_pyarrow_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"requires the package pyarrow; run pip install"):
        find_inputs([write(tmp_path / "a.parquet", "PAR1")])
