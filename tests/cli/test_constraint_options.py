"""Constraints of nmt-translate, in files with a line per line of the input."""

from pathlib import Path

import pytest

from nmt.cli.constraint_options import constrain_lines
from nmt.cli.translate import check_options, make_parser
from nmt.errors import UserError
from nmt.search.source_line import SourceLine, number_lines
from nmt.search.translator import Translator
from tests.commands import nmt_translate


def _lines(texts: list[str], *options: str) -> list[SourceLine]:
    arguments = make_parser().parse(["-m", "run", *options])
    return list(constrain_lines(number_lines(texts), arguments, "in.de"))


def test_files_give_the_constraints_of_each_line(trained: Path, tmp_path: Path) -> None:
    files = {
        "prefix": "\nMy \n",
        "terms": "window\tthe\tthe\n\n",
        "forbid": "\nis\n",
        "forbid-everywhere": "door\n\nhouse\n",
    }
    options: list[str] = []
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        options += [f"--{name}", str(tmp_path / name)]
    first, second = _lines(["<k>Das</k> Fenster", "zwei"], *options, "--keep-tag", "k")
    assert first.text == "Das Fenster"
    assert first.constraints == ("", ("Das", "window", "the", "the"), ("door", "house"))
    assert second.constraints == ("My ", (), ("door", "house", "is"))
    given = "Das Fenster ist offen.\nGuten Morgen!\n"
    called = nmt_translate("-m", trained, *options, given=given)
    assert (called.code, called.err) == (0, "")
    words = called.lines[0].replace(".", " ").split()
    assert (words.count("window"), words.count("the")) == (1, 2)
    assert called.lines[1].startswith("My ")
    assert "is" not in called.lines[1].split()


@pytest.mark.parametrize("content", ["a\n", "a\nb\nc\n"])
def test_another_number_of_lines_is_an_error(content: str, tmp_path: Path) -> None:
    file = tmp_path / "terms"
    file.write_text(content)
    message = rf"{file}: {len(content) // 2} lines, but in.de has 2; give one line per sentence"
    with pytest.raises(UserError, match=message):
        _lines(["x", "y"], "--terms", str(file))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--terms", "f", "--sample"], "--terms: requires beam search; remove --sample"),
        (["--keep-tag", "x", "--sample"], "--keep-tag: requires beam search"),
        (["--forbid", "f", "--force", "g"], "--forbid: has no effect with --score-targets"),
        (["--prefix", "f", "--recurrence", "graph"], "graph is not possible with --prefix"),
    ],
)
def test_option_that_excludes_constraints_is_an_error(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_options(make_parser().parse(["-m", "run", *options]))


def test_faults_of_constraints_are_one_line_with_their_location(
    trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "terms").write_text("\n가\n")
    options = ["-m", trained, "--terms", tmp_path / "terms"]
    called = nmt_translate(*options, given="Guten Tag!\nHallo!\n")
    message = "standard input:2: term '가': the target vocabulary lacks 가; remove it"
    assert message in called.complaint
    called = nmt_translate("-m", trained, "--terms", tmp_path / "none", given="Hallo!\n")
    assert f"{tmp_path / 'none'}: not found" in called.complaint


def test_line_without_a_possible_translation_is_empty_and_has_its_own_warning(
    trained: Path, tmp_path: Path
) -> None:
    # There is room for the prefix, both terms and one more token, but two more are necessary.
    files = {"prefix": "x ", "terms": "a\ta", "forbid": "x a\ta a"}
    options: list[str] = []
    for name, content in files.items():
        (tmp_path / name).write_text(f"{content}\n\n")
        options += [f"--{name}", str(tmp_path / name)]
    vocabulary = Translator.load(trained).target_vocabulary
    length = len(vocabulary.encode("x a a")) + 1
    options += ["--max-length", str(length)]
    called = nmt_translate("-m", trained, *options, given="Das Fenster.\n\n")
    assert (called.code, called.lines) == (0, ["", ""])
    assert called.err == (
        "nmt-translate: 1 lines are empty, because search found no translation that satisfies "
        "their constraints; loosen them, or raise --beam-size or --max-length\n"
    )
