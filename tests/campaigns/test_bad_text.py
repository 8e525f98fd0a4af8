"""Odd and broken text in all inputs: lines of output as lines of input, or one error line."""

import gzip
import random
import shutil
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.campaigns.odd_text import odd_lines
from tests.campaigns.processes import SUCCESS, USER_ERROR, Commands
from tests.campaigns.rounds import Tally, each
from tests.campaigns.runs import copy_inputs

OPTIONS = ("-m", "run", "-b", "1", "--max-length", "4", "--threads", "1")
KEPT = "an earlier result\n"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252", "euc-kr")


class Text(NamedTuple):
    """Content of a text file, and its name, whose end may say how it is packed."""

    name: str
    data: bytes


def _base() -> bytes:
    lines = ["2026-11-29", "", "Sunday, 29 Nov 2026", "e\u0301 \U0001f600", " ", "\u4e00"]
    return "".join(f"{line}\n" for line in [*lines, *odd_lines(6, seed=3)]).encode()


def _mutated(data: bytes, chosen: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chosen.randrange(1, 4)):
        at = chosen.randrange(len(changed) or 1)
        kind = chosen.randrange(5)
        if kind == 0:
            changed[at : at + 1] = bytes([chosen.randrange(256)])
        elif kind == 1:
            del changed[at : at + chosen.randrange(1, 30)]
        elif kind == 2:
            changed[at:at] = chosen.choice((b"\0", b"\r", b"\r\n", b"\n\n", b"\xff", b"\t", b'"'))
        elif kind == 3:
            changed[at:at] = bytes(chosen.randrange(256) for _ in range(chosen.randrange(8)))
        else:
            del changed[at:]
    return bytes(changed)


def texts() -> list[tuple[str, Text]]:
    """Return files of text: encodings, packings, line ends, special content, mutations."""
    base, found = _base(), {}
    for encoding in ENCODINGS:
        data = base.decode().encode(encoding, errors="replace")
        found[f"encoding {encoding}"] = Text("in.txt", data)
    special = {
        "empty": b"",
        "one line feed": b"\n",
        "no line end": base[:-1],
        "crlf": base.replace(b"\n", b"\r\n"),
        "cr only": base.replace(b"\n", b"\r"),
        "nul": base + b"a\0b\n",
        "byte order mark alone": b"\xef\xbb\xbf",
        "surrogate": base + b"\xed\xa0\x80\n",
        "overlong": base + b"\xc0\xaf\n",
        "cut character": base + "\u4e00".encode()[:2],
        "long line": base + b"1 " * 200_000 + b"\n",
        "long word": base + b"x" * 400_000 + b"\n",
        "many lines": b"\n" * 20_000,
        "page": b"<html>\n" + base,
        "links": b"0-0 1-1\n0-1\n0-9999999999\n",
    }
    found |= {name: Text("in.txt", data) for name, data in special.items()}
    packed = gzip.compress(base)
    found |= {
        "gz": Text("in.gz", packed),
        "gz in name only": Text("in.gz", base),
        "gz without name": Text("in.txt", packed),
        "gz cut": Text("in.gz", packed[: len(packed) // 2]),
        "gz trailing": Text("in.gz", packed + b"more"),
        "gz two members": Text("in.gz", packed + packed),
        "gz empty": Text("in.gz", b""),
        "bz2": Text("in.bz2", b"BZh91AY&SY" + packed),
        "xz": Text("in.xz", b"\xfd7zXZ\0" + packed),
        "zst": Text("in.zst", b"\x28\xb5\x2f\xfd" + packed),
        "tsv": Text("in.tsv", base.replace(b" ", b"\t")),
    }
    for number in range(50):
        found[f"mutation {number}"] = Text("in.txt", _mutated(base, random.Random(number)))
    for number in range(30):
        found[f"gz mutation {number}"] = Text("in.gz", _mutated(packed, random.Random(number)))
    return list(found.items())


def _lines(text: Text) -> int | None:
    """Return the number of lines of a file, or None if it cannot be read as text."""
    try:
        data = gzip.decompress(text.data) if text.name.endswith(".gz") else text.data
        data.decode()
    except (OSError, EOFError, ValueError, gzip.zlib.error):  # type: ignore[attr-defined]
        return None
    if text.name.endswith((".bz2", ".xz", ".zst", ".tsv")):
        return None
    return data.count(b"\n") + (not data.endswith(b"\n") and data not in (b"", b"\xef\xbb\xbf"))


@each(texts(), short=5)
def test_translation_of_odd_text_has_its_lines_or_leaves_the_output(
    case: Text, shared: Path, commands: Commands, tmp_path: Path
) -> None:
    text, out = tmp_path / case.name, tmp_path / "out"
    text.write_bytes(case.data)
    out.write_text(KEPT)
    ended = commands.run("nmt-translate", *OPTIONS, text, "-o", out, cwd=shared)
    assert ended.fault() is None, ended.fault()
    if ended.code == USER_ERROR:
        assert out.read_text() == KEPT, f"the output is lost: {ended.err}"
        return
    written, expected = out.read_bytes(), _lines(case)
    assert expected is None or written.count(b"\n") == expected, ended.err


@each(texts(), short=1)
def test_odd_text_as_reference_targets_and_training_text(
    case: Text, shared: Path, commands: Commands, tmp_path: Path, tally: Tally
) -> None:
    copy_inputs(shared, tmp_path)
    shutil.copytree(shared / "run", tmp_path / "run", symlinks=True)
    text = tmp_path / case.name
    text.write_bytes(case.data)
    side = tmp_path / "data" / f"odd.text{text.suffix if text.suffix == '.gz' else ''}"
    side.write_bytes(case.data)
    shutil.copy(tmp_path / "data" / "train.iso", tmp_path / "data" / "odd.iso")
    for command, *words in (
        ("nmt-eval", text, text),
        ("nmt-eval", text, "data/valid.iso"),
        ("nmt-eval", "data/valid.iso", "data/valid.iso", "--baseline", text),
        ("nmt-eval", "--alignments", text, "--gold", text),
        ("nmt-translate", *OPTIONS, "data/valid.text", "--score-targets", text),
        ("nmt-train", "dates.yaml", "data.train=data/odd", "--check"),
    ):
        ended = commands.run(command, *words, cwd=tmp_path)
        tally.add(ended.fault((SUCCESS, USER_ERROR)))
    tally.check()


def test_any_lines_give_as_many_lines(
    full: bool, shared: Path, commands: Commands, tmp_path: Path, tally: Tally
) -> None:
    line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"))

    @seed(1)
    @settings(
        max_examples=100 if full else 4,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(line, max_size=20))
    def check(lines: list[str]) -> None:
        given_lines = "".join(f"{one}\n" for one in lines).encode()
        ended = commands.run("nmt-translate", *OPTIONS, cwd=shared, given=given_lines)
        tally.add(ended.fault([SUCCESS]))
        assert ended.fault([SUCCESS]) is None, ended.fault()
        assert ended.out.count(b"\n") == len(lines)

    check()
    tally.check()
