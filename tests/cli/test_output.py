"""Output files: complete or unchanged, compressed by suffix, and never shared."""

import bz2
import gzip
import json
import lzma
import os
import signal
import stat
import threading
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

import pytest

from nmt.cli import common
from nmt.cli.common import run
from nmt.cli.output import OutputFile, check_outputs, publishing
from nmt.cli.process import import_torch
from nmt.cli.translate_io import format_translation
from nmt.errors import UserError
from nmt.search.translation import Translation
from tests.commands import call, lines_of, nmt_translate
from tests.evaluation.report.pages import Page

OLD = "an earlier output\n"
NUMBERS = ["--workers", "--threads", "--max-length", "-b", "--n-best", "--batch-tokens", "--seed"]
NUMBERS += ["--batch-sentences", "--block-ngram-repeat", "--top-k"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["bad.de"],
        ["folder"],
        ["good.de", "--attention", "one.txt"],
        ["good.de", "--score-targets", "one.txt"],
        ["good.de", "--alignments", "folder"],
        ["good.de", "--attention", "."],
        ["missing.de"],
    ],
)
def test_failing_command_keeps_an_earlier_output(
    arguments: list[str], trained: Path, here: Path
) -> None:
    (here / "good.de").write_text("Guten Morgen!\nEins.\n")
    (here / "bad.de").write_bytes(b"Guten Morgen!\n\xff\n")
    (here / "one.txt").write_text("one\n")
    (here / "folder").mkdir()
    (here / "out").write_text(OLD)
    if arguments[-1] == ".":
        (here / "index.html").mkdir()  # the last file that is written
    before = {path.name for path in here.iterdir()}
    called = nmt_translate("-m", trained, "-b", 1, *arguments, "-o", "out")
    assert called.complaint
    assert (here / "out").read_text() == OLD
    assert {path.name for path in here.iterdir()} - {"0.png", "1.png"} == before


def test_interrupt_while_a_file_is_opened_leaves_none(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(output: OutputFile, path: Path) -> None:
        path.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(OutputFile, "_open", interrupted)
    monkeypatch.setattr("nmt.cli.common._handle_signals", lambda _: None)
    called = call(lambda _: run("nmt-translate", lambda: bool(OutputFile("out.en"))), "")
    assert (called.code, called.err) == (130, "nmt-translate: interrupted\n")
    assert not list(here.iterdir())


def test_interrupt_that_an_import_discards_ends_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def command() -> int:
        with suppress(KeyboardInterrupt):
            common._interrupt(signal.SIGTERM, None)
        import_torch()
        return 0

    monkeypatch.setattr(common, "_handle_signals", lambda _: None)
    called = call(lambda _: common.run("nmt-translate", command), "")
    assert (called.code, called.err) == (130, "nmt-translate: interrupted\n")
    # The next command of this process is another one.
    assert call(lambda _: common.run("nmt-translate", lambda: 0), "").code == 0
    common.check_interrupt()


def test_outputs_are_compressed_by_suffix(trained: Path, here: Path) -> None:
    given = "Guten Morgen!\nEins.\n"
    printed = nmt_translate("-m", trained, given=given).out
    for suffix, read in ((".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)):
        options = ["-o", f"out{suffix}", "--alignments", f"links{suffix}"]
        assert nmt_translate("-m", trained, *options, given=given) == (0, "", "")
        with read(f"out{suffix}", "rt", encoding="utf-8") as stream:
            assert stream.read() == printed
        with read(f"links{suffix}", "rt") as stream:
            assert len(stream.read().splitlines()) == 2
    first = (here / "out.gz").read_bytes()
    nmt_translate("-m", trained, "-o", "out.gz", given=given)
    assert (here / "out.gz").read_bytes() == first


def test_alignments_may_be_printed(trained: Path, here: Path) -> None:
    options = ["-o", "out", "--alignments", "-"]
    called = nmt_translate("-m", trained, *options, given="Guten Morgen!\n")
    assert called.code == 0
    assert "0-0" in called.out
    assert len(lines_of(here / "out")) == 1


def test_output_that_is_part_of_a_run_is_refused(here: Path) -> None:
    (here / "run" / "checkpoints").mkdir(parents=True)
    (here / "run" / "config.yaml").write_text("model: {}", encoding="utf-8")
    (here / "link").symlink_to("run/config.yaml")
    for name in ("run/config.yaml", "run/checkpoints/8/state.json", "link"):
        with pytest.raises(UserError, match=f"^{name}: is part of the run"):
            check_outputs([], {"translations": name})
    check_outputs([], {"translations": "run/test.de"})


@pytest.mark.parametrize(
    ("inputs", "outputs", "location"),
    [
        (["text"], ["text"], "text"),
        (["text"], ["./text"], "./text"),
        (["text"], ["soft"], "soft"),
        (["hard"], ["text"], "text"),
        (["other", "text"], ["new", "soft"], "soft"),
    ],
)
def test_output_that_is_an_input_is_refused(
    inputs: list[str], outputs: list[str], location: str, here: Path
) -> None:
    _write_links(here)
    named = dict(zip(("translations", "alignments"), outputs, strict=False))
    with pytest.raises(UserError, match="is both input and output; choose another") as raised:
        check_outputs(inputs, named)
    assert raised.value.location == location


@pytest.mark.parametrize(
    "outputs",
    [
        ("new", "new"),
        ("new", "./new"),
        ("text", "soft"),
        ("text", "hard"),
        ("new", "dangling"),
        ("folder", "./folder"),
        ("-", "-"),
    ],
)
def test_two_outputs_in_one_file_are_refused(outputs: tuple[str, str], here: Path) -> None:
    _write_links(here)
    named = dict(zip(("translations", "attention"), outputs, strict=True))
    with pytest.raises(UserError, match="is the output of both translations and attention"):
        check_outputs(["-"], named)
    check_outputs(["other"], {"translations": "/dev/null", "alignments": "/dev/null"})
    check_outputs(["other"], {"translations": "-", "alignments": "new", "attention": "folder"})


def _write_links(here: Path) -> None:
    (here / "text").write_text(OLD)
    (here / "other").write_text(OLD)
    (here / "soft").symlink_to("text")
    (here / "hard").hardlink_to(here / "text")
    (here / "dangling").symlink_to("new")
    (here / "folder").mkdir()


def test_links_and_modes_of_an_earlier_output_are_kept(here: Path) -> None:
    (here / "text").write_text(OLD)
    (here / "text").chmod(0o640)
    (here / "soft").symlink_to("text")
    output = OutputFile("soft")
    with publishing([output]):
        output.write("new\n")
        assert (here / "text").read_text() == OLD
    assert (here / "soft").is_symlink()
    assert (here / "text").read_text() == "new\n"
    assert stat.S_IMODE((here / "text").stat().st_mode) == 0o640


def test_no_output_is_published_if_another_one_fails(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "one").write_text(OLD)
    outputs = [OutputFile("one"), OutputFile("two")]

    def fail() -> None:
        raise UserError("no space")

    monkeypatch.setattr(outputs[1], "close", fail)
    with pytest.raises(UserError, match="no space"), publishing(outputs):
        outputs[0].write("new\n")
    assert (here / "one").read_text() == OLD
    assert [path.name for path in here.iterdir()] == ["one"]


def test_pipe_is_opened_at_the_first_write(here: Path) -> None:
    os.mkfifo("pipe")
    output = OutputFile("pipe")  # opening would wait for a reader
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(Path("pipe").read_text()))
    with publishing([output]):
        reader.start()
        output.write("text\n")
    reader.join(timeout=60)
    assert found == ["text\n"]
    assert (here / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "folder: cannot write: Is a directory"),
        ("none/out", "none/out: cannot write: No such file or directory"),
        ("text/out", "text/out: cannot write: Not a directory"),
        ("x" * 300, "cannot write: File name too long"),
        ("loop", "loop: cannot write: Too many levels of symbolic links"),
    ],
)
def test_names_that_cannot_be_written_are_reported(name: str, words: str, here: Path) -> None:
    (here / "folder").mkdir()
    (here / "text").write_text(OLD)
    (here / "loop").symlink_to("loop")
    with pytest.raises(UserError) as raised:
        OutputFile(name)
    assert words in str(raised.value)


def test_full_device_is_reported(trained: Path) -> None:
    called = nmt_translate("-m", trained, "-o", "/dev/full", given="Guten Morgen!\n")
    assert "/dev/full: cannot write: No space left on device" in called.complaint


def test_separators_in_the_text_are_escaped() -> None:
    one = Translation("x", "||| a ||| b\t||||", -0.5, -1.0)
    plain = Namespace(jsonl=False, n_best=None, scores=False)
    assert format_translation(3, one, plain) == f"{one.text}\n"
    bars = "&#124;" * 3
    moses = format_translation(3, one, Namespace(jsonl=False, n_best=2, scores=False))
    text = f"{bars} a {bars} b\t{bars}|"
    assert moses.split(" ||| ") == ["3", text, "logprob= -1.0000", "-0.5000\n"]
    scored = format_translation(3, one, Namespace(jsonl=False, n_best=None, scores=True))
    assert scored.split("\t") == ["||| a ||| b&#9;||||", "-0.5000\n"]


def test_cut_translations_are_counted(trained: Path) -> None:
    given = "Das Fenster ist offen.\n\nGuten Morgen!\n"
    called = nmt_translate("-m", trained, "--max-length", 1, "--jsonl", given=given)
    assert [json.loads(line)["finished"] for line in called.lines] == [False, True, False]
    assert called.err == (
        "nmt-translate: 2 translations reached the maximum length before their end; see `finished` "
        "in --jsonl, or raise --max-length\n"
    )


def test_lines_without_visible_characters_are_empty(trained: Path) -> None:
    blank = [
        "\u00ad",
        "\0",
        "\x1a",
        "\u2060",
        "\u2800",
        "\u3164",
        "\u034f",
        "\U000e0020",
        " \u200b",
    ]
    called = nmt_translate("-m", trained, given="\n".join([*blank, "Eins."]) + "\n")
    assert called.lines[:-1] == [""] * len(blank)
    assert called.lines[-1]


def test_table_is_read_by_column_or_refused(
    trained: Path, sources: list[str], expected: list[str], here: Path
) -> None:
    rows = [f"{number}\t{text}\t{expected[number]}" for number, text in enumerate(sources[:4])]
    (here / "a.tsv").write_text("id\tsource\ttarget\n" + "\n".join(rows) + "\n", encoding="utf-8")
    called = nmt_translate("-m", trained, "a.tsv")
    assert "a.tsv: is a table, not one sentence per line; select the column" in called.complaint
    for column in (2, "source"):
        assert nmt_translate("-m", trained, "a.tsv", "--column", column).lines == expected[:4]
    scored = ["--score-targets", "a.tsv", "--target-column", "target", "--scores"]
    called = nmt_translate("-m", trained, "a.tsv", "--column", 2, *scored)
    assert [line.split("\t")[0] for line in called.lines] == expected[:4]
    called = nmt_translate("-m", trained, "a.tsv", "--column", "text")
    assert "a.tsv:1: no column 'text' in the header row; it has: id, source, target" in (
        called.complaint
    )
    (here / "memory.tmx").write_text("<tmx/>")
    assert "is a translation memory" in nmt_translate("-m", trained, "memory.tmx").complaint


@pytest.mark.parametrize("option", NUMBERS)
@pytest.mark.parametrize("value", ["9" * 30, "9" * 5000, "-1", "²", "1e3"])
def test_numbers_out_of_range_are_refused(option: str, value: str) -> None:
    called = nmt_translate("-m", "none", option, value)
    assert {"-b": "--beam-size"}.get(option, option) in called.complaint
    assert len(called.complaint) < 1500


def test_attention_directory_and_report_show_all_translations(trained: Path, here: Path) -> None:
    (here / "reference").write_text("Good <b>!\n\nOne.\n")
    options = ["-b", 1, "--attention", "drawn", "--report", "a.html", "--reference", "reference"]
    assert nmt_translate("-m", trained, *options, given="Guten <b>!\n\nEins.\n").code == 0
    assert {file.name for file in Path("drawn").iterdir()} == {"0.png", "2.png", "index.html"}
    for file in (here / "drawn" / "index.html", here / "a.html"):
        page = Page(file)
        assert [row["source"] for row in page.rows] == ["Guten <b>!", "", "Eins."]
        assert [row["reference"] for row in page.rows] == ["Good <b>!", "", "One."]
        assert [len(one["targets"][0]["views"]) for one in page.details] == [1, 0, 1]


def test_report_shows_models_and_gold_alignment_of_references(trained: Path, here: Path) -> None:
    (here / "reference").write_text("One two.\n\n")
    (here / "gold").write_text("0-1\n\n")
    options = ["--reference", "reference", "--report", "a.html", "--gold", "gold"]
    called = nmt_translate("-m", trained, "-m", trained, *options, given="Eins zwei.\n\n")
    assert called.code == 0
    full, empty = Page(here / "a.html").details
    translation, reference = full["targets"]
    names = [view["name"] for view in translation["views"]]
    assert names == ["mean", f"1: {trained}", f"2: {trained}"]
    assert (reference["text"], reference["gold"]["sure"]) == ("One two.", [[0, 1]])
    assert [len(one["targets"]) for one in (full, empty)] == [2, 1]
    (here / "gold").write_text("0-2\n\n")
    given = ["--score-targets", "reference", "--report", "a.html", "--gold", "gold"]
    called = nmt_translate("-m", trained, *given, given="Eins zwei.\n\n")
    assert "gold:1: link 0-2, but the source has 2 and the target 2 words" in called.complaint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--report", "a.txt"], "a.txt: --report must end in .html"),
        (["--reference", "two"], "--reference: has no effect without --report"),
        (["--report", "a.html", "--gold", "two"], "--gold: requires --reference or"),
        (["--report", "a.html", "--reference", "two"], "two: 2 lines, but standard input has 1"),
        (["--report", "a.html", "--reference", "no"], "no: not found"),
        (["--report", "no/a.html"], "no: is not a directory"),
        (["--report", "a.html", "--heads"], "--heads: has no effect without multi-head attention"),
    ],
)
def test_mistakes_in_options_of_the_report(
    options: list[str], message: str, trained: Path, here: Path
) -> None:
    (here / "two").write_text("a\nb\n")
    assert message in nmt_translate("-m", trained, *options, given="Eins.\n").complaint
    assert not (here / "a.html").exists()
