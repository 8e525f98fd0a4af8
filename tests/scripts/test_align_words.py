"""Words of a text aligned by an external program, which a small one stands in for."""

from pathlib import Path

import pytest
from align_words import combine, main, normalize

from nmt.data.pharaoh import parse_pharaoh

# Links every word to the word of the same number, and in the reverse direction the first word
# alone.
ALIGNER = """#!/usr/bin/env python3
import sys
value = dict(zip(sys.argv[1::2], sys.argv[2::2]))
lines = [line.split() for line in open(value["-s"], encoding="utf-8")]
open(value["-f"], "w").writelines(
    " ".join(f"{i}-{i}" for i in range(len(line))) + "\\n" for line in lines
)
open(value["-r"], "w").writelines("0-0\\n" if line else "\\n" for line in lines)
"""


def test_words_keep_their_numbers() -> None:
    assert normalize('Ein "Hund"  bellt - laut!') == "ein hund bellt - laut"
    assert normalize("") == ""


def test_links_of_one_direction_are_possible() -> None:
    forward, reverse = parse_pharaoh("0-1 10-2 2-2"), parse_pharaoh("2-2 3-0")
    line = combine(forward, reverse)
    assert line == "0?1 2-2 3?0 10?2"
    assert parse_pharaoh(line).sure == {(2, 2)}
    assert combine(parse_pharaoh(""), parse_pharaoh("")) == ""


def test_links_of_the_last_text_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligner = tmp_path / "eflomal-align"
    aligner.write_text(ALIGNER)
    aligner.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name, text in (("first", "a b c\n"), ("last", "a b\na\n")):
        for suffix in ("x", "y"):
            (tmp_path / f"{name}.{suffix}").write_text(text)
    output = tmp_path / "last.links"
    texts = [str(tmp_path / "first"), str(tmp_path / "last")]
    main([*texts, "--source", "x", "--target", "y", "--output", str(output)])
    assert output.read_text() == "0-0 1?1\n0-0\n"
