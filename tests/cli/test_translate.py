"""nmt-translate: lines in, lines out, and every form of output."""

import gzip
import json
import signal
import sys
import threading
from pathlib import Path
from queue import Queue
from subprocess import PIPE, run
from typing import Any

import pytest

from nmt.search.translator import Translator
from tests.commands import PHRASES, lines_of, nmt_translate, tree_of
from tests.conftest import start_command

KEYS = {"id", "source", "translation", "pieces", "score", "piece_scores", "alignment", "attention"}


def _lines(text: str) -> list[str]:
    assert text.endswith("\n")
    return text[:-1].split("\n")


@pytest.fixture
def de() -> Path:
    """The German phrases."""
    return Path(f"{PHRASES}.de")


@pytest.fixture(scope="session")
def expected(translator: Translator, sources: list[str]) -> list[str]:
    """Their translations."""
    return [one.text for one in translator.translate(sources)]


def test_a_file_gives_as_many_lines_in_order(
    de: Path, trained: Path, expected: list[str], tmp_path: Path
) -> None:
    printed = nmt_translate("-m", trained, de)
    assert (printed.code, printed.err) == (0, "")
    assert _lines(printed.out) == expected
    written = nmt_translate("-m", trained, de, "-o", tmp_path / "out.en")
    assert written.out == ""
    assert (tmp_path / "out.en").read_text(encoding="utf-8") == printed.out
    assert nmt_translate("-m", trained, given=de.read_bytes()).out == printed.out
    assert nmt_translate("-m", trained, "-", "-o", "-", given=de.read_bytes()).out == printed.out


def test_lines_end_at_lf_and_crlf_only(trained: Path, expected: list[str]) -> None:
    first, second = "Guten Morgen!", "Das Fenster ist offen."
    lines = [first, "", " \t", second, first + "\u2028" + second, "\x0c", first + "\x85", "한국어"]
    given = "\n".join(lines)
    whole = nmt_translate("-m", trained, given=given)
    found = _lines(whole.out)
    assert len(found) == len(lines)
    assert found[0] == expected[0]
    assert found[1] == found[2] == found[5] == ""
    assert nmt_translate("-m", trained, given=given + "\n").out == whole.out
    assert nmt_translate("-m", trained, given=given.replace("\n", "\r\n")).out == whole.out
    marked = b"\xef\xbb\xbf" + given.encode()
    assert nmt_translate("-m", trained, given=marked).out == whole.out


def test_no_input_gives_no_output(trained: Path) -> None:
    assert nmt_translate("-m", trained, given="") == (0, "", "")
    assert nmt_translate("-m", trained, given="\n") == (0, "\n", "")


def test_a_huge_line_stays_one_line(trained: Path, sources: list[str]) -> None:
    huge = " ".join(sources * 4)
    called = nmt_translate("-m", trained, "--max-length", 9, given=f"{huge}\nGuten Morgen!\n")
    assert len(_lines(called.out)) == 2


def test_packed_input_is_unpacked(trained: Path, de: Path, tmp_path: Path) -> None:
    (tmp_path / "phrases.gz").write_bytes(gzip.compress(de.read_bytes()))
    called = nmt_translate("-m", trained, tmp_path / "phrases.gz")
    assert called.out == nmt_translate("-m", trained, de).out


def test_korean_comes_through_untouched(trained: Path) -> None:
    korean = PHRASES.with_suffix(".ko")
    called = nmt_translate("-m", trained, korean, "--jsonl", "-b", 1)
    found = [json.loads(line) for line in _lines(called.out)]
    assert [one["source"] for one in found] == lines_of(korean)


def test_what_is_not_utf8_is_told_after_the_lines_before(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.de").write_bytes(b"Guten Morgen!\n\xff\n")
    called = nmt_translate("-m", trained, tmp_path / "bad.de")
    assert f"{tmp_path / 'bad.de'}:2: byte 1 is not UTF-8" in called.complaint
    called = nmt_translate("-m", trained, given=b"\xff\n")
    assert "standard input:1: byte 1 is not UTF-8" in called.complaint


def test_n_best_lines_are_as_moses_writes_them(
    trained: Path, sources: list[str], expected: list[str]
) -> None:
    called = nmt_translate("-m", trained, "--n-best", 3, given="\n".join(sources[:4]) + "\n\n")
    rows = [line.split(" ||| ") for line in _lines(called.out)]
    assert [row[0] for row in rows] == ["0"] * 3 + ["1"] * 3 + ["2"] * 3 + ["3"] * 3 + ["4"]
    assert [rows[3 * n][1] for n in range(4)] == expected[:4]
    for _, text, features, score in rows[:12]:
        assert text
        name, value = features.split(" ")
        assert name == "logprob="
        assert float(value) <= float(score) <= 0  # the score is the mean over pieces
    scores = [float(row[3]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)
    assert rows[12][1] == ""


def test_scores_stand_after_a_tab(trained: Path, translator: Translator) -> None:
    called = nmt_translate("-m", trained, "--scores", given="Guten Morgen!\n\n")
    (one,) = translator.translate(["Guten Morgen!"])
    rows = [line.split("\t") for line in _lines(called.out)]
    assert rows[0][0] == one.text
    assert float(rows[0][1]) == pytest.approx(one.score, abs=1e-4)
    assert rows[1] == ["", "0.0000"]


def test_jsonl_has_its_keys_and_shapes(
    trained: Path, sources: list[str], expected: list[str]
) -> None:
    given = "\n".join([*sources[:5], "", *sources[5:8]]) + "\n"
    called = nmt_translate("-m", trained, "--jsonl", "--n-best", 2, given=given)
    found = [json.loads(line) for line in _lines(called.out)]
    assert [one["id"] for one in found] == list(range(9))
    assert [one["source"] for one in found] == [*sources[:5], "", *sources[5:8]]
    assert [one["translation"] for one in found] == [*expected[:5], "", *expected[5:8]]
    for one in found:
        assert set(one) == KEYS | {"n_best", "source_pieces"}
    for one in found[:5] + found[6:]:
        pieces, weights = one["pieces"], one["attention"]
        assert len(weights) == len(one["piece_scores"])
        assert len(weights) - len(pieces) in (0, 1)
        assert {len(row) for row in weights} == {len(one["source_pieces"]) + 1}
        assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in weights)
        mean = sum(one["piece_scores"]) / len(one["piece_scores"])
        assert one["score"] == pytest.approx(mean, abs=1e-5)
        assert one["n_best"][0] == {"translation": one["translation"], "score": one["score"]}
        assert len(one["n_best"]) == 2
        assert all(len(link) == 2 for link in one["alignment"])
    assert (found[5]["pieces"], found[5]["n_best"], found[5]["score"]) == ([], [], 0)


@pytest.mark.parametrize("level", ["word", "piece"])
def test_alignments_are_pharaoh_lines_within_range(
    level: str, trained: Path, sources: list[str], tmp_path: Path
) -> None:
    given = "\n".join([*sources[:10], "", *sources[10:20]]) + "\n"
    file = tmp_path / "links"
    options = ["--alignments", file, "--alignment_level", level, "--jsonl"]
    called = nmt_translate("-m", trained, *options, given=given)
    links = lines_of(file)
    found = [json.loads(line) for line in _lines(called.out)]
    assert len(links) == len(found) == 21
    assert links[10] == ""
    for line, one in zip(links, found, strict=True):
        pairs = [tuple(map(int, link.split("-"))) for link in line.split()]
        if level == "word":
            source, target = one["source"].split(), one["translation"].split()
            assert pairs == [tuple(link) for link in one["alignment"]]
        else:
            source, target = one["source_pieces"], one["pieces"]
        assert all(s < len(source) and t < len(target) for s, t in pairs)
    assert "0-0" in links[0].split()


def test_forcing_scores_the_given_translations(
    trained: Path, de: Path, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "given.en").write_text("\n".join(expected) + "\n", encoding="utf-8")
    searched = nmt_translate("-m", trained, de, "--scores")
    forced = nmt_translate("-m", trained, de, "--scores", "--force", tmp_path / "given.en")
    assert forced.code == 0
    found, wanted = ([line.split("\t") for line in _lines(c.out)] for c in (forced, searched))
    assert [row[0] for row in found] == expected
    near = [abs(float(a[1]) - float(b[1])) < 2e-4 for a, b in zip(found, wanted, strict=True)]
    assert sum(near) >= 50  # the others were cut otherwise, or not ended, by search
    (tmp_path / "short.en").write_text("one\n")
    short = nmt_translate("-m", trained, de, "--force", tmp_path / "short.en")
    assert "1 lines, but" in short.complaint
    assert "has 60" in short.complaint


def test_two_runs_make_an_ensemble(trained: Path, second: Path) -> None:
    called = nmt_translate("-m", trained, "-m", second, "--scores", given="Guten Morgen!\n")
    both = Translator.load(trained, second, threads=1).translate(["Guten Morgen!"])[0]
    assert called.out == f"{both.text}\t{both.score:.4f}\n"


def test_drawing_depends_on_the_seed_and_the_line_alone(trained: Path, sources: list[str]) -> None:
    given = "\n".join(sources[:10]) + "\n"
    options = ["-m", trained, "--sample", "--temperature", 1.5, "--top-k", 50, "--top-p", 0.95]
    first = nmt_translate(*options, given=given)
    assert nmt_translate(*options, given=given).out == first.out
    assert nmt_translate(*options, "--batch-sentences", 1, given=given).out == first.out
    assert nmt_translate(*options, "--seed", 2, given=given).out != first.out


def test_unknown_pieces_are_replaced_on_request(trained: Path) -> None:
    given = "Ich komme aus 서울.\n"
    plain = nmt_translate("-m", trained, "--jsonl", given=given)
    replaced = nmt_translate("-m", trained, "--jsonl", "--replace-unknown", given=given)
    assert json.loads(plain.out)["pieces"] == json.loads(replaced.out)["pieces"]
    assert ("<unk>" in json.loads(plain.out)["pieces"]) == (plain.out != replaced.out)


def test_options_take_dashes_and_underscores(trained: Path) -> None:
    given = "Guten Morgen!\nWie heißt du?\n"
    dashed = ["--beam-size", 2, "--length-penalty", "gnmt", "--max-length=7", "--n-best", 2]
    scored = [str(option).replace("-", "_").replace("__", "--") for option in dashed]
    one = nmt_translate("-m", trained, *dashed, given=given)
    two = nmt_translate("-m", trained, *scored, given=given)
    assert one.code == 0
    assert one == two


def test_batches_change_no_line(trained: Path, sources: list[str]) -> None:
    given = "\n".join(sources[:12]) + "\n"
    whole = nmt_translate("-m", trained, "-b", 2, given=given)
    for batch in (["--batch-sentences", 1], ["--batch-sentences", 7], ["--batch-tokens", 30]):
        assert nmt_translate("-m", trained, "-b", 2, *batch, given=given) == whole


@pytest.mark.parametrize("checkpoint", ["best", "last", "average", "100"])
def test_checkpoints_are_chosen_by_name_or_number(checkpoint: str, trained: Path) -> None:
    called = nmt_translate(
        "-m", trained, "--checkpoint", checkpoint, "--scores", given="Wie heißt du?\n"
    )
    (one,) = Translator.load(trained, checkpoint=checkpoint, threads=1).translate(["Wie heißt du?"])
    assert called.out == f"{one.text}\t{one.score:.4f}\n"


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions_translate(precision: str, trained: Path, expected: list[str]) -> None:
    called = nmt_translate("-m", trained, "--precision", precision, given="Guten Morgen!\n")
    assert called == (0, expected[0] + "\n", "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--beam-size", 0], "must be at least 1"),
        (["--beam-size", "many"], "expected a whole number"),
        (["--temperature", 2], "--temperature without --sample"),
        (["--sample", "--top-p", 2], "must be at least 0 and at most 1"),
        (["--sample", "--temperature", 0], "temperature is 0"),
        (["--sample", "--n-best", 3], "leave out --n-best"),
        (["--alpha", "-1"], "--alpha"),
        (["--length-penalty", "none", "--alpha", 1], "--alpha is the length penalty's"),
        (["--beta", 1], "--beta is the coverage penalty's"),
        (["--length-penalty", "mean"], "mean"),
        (["--n-best", 2, "--scores"], "leave out --scores"),
        (["--jsonl", "--scores"], "leave out --scores"),
        (["--force", "x", "--n-best", 2], "--force searches for nothing"),
        (["--checkpoint", "bset"], "use best, last, average or an update"),
        (["--checkpoint", "51"], "no checkpoint 51; known: 100, 150"),
        (["--precision", "fp16", "--device", "cpu"], "precision fp16 needs a GPU"),
        (["--precision", "fp64"], "fp64"),
        (["--devise", "cpu"], "--devise"),
        (["nowhere.de"], "nowhere.de: no such file"),
        (["-o", "nowhere/out.en"], "nowhere/out.en: cannot write"),
        (["--alignments", "nowhere/links"], "nowhere/links: cannot write"),
        (["-m", "nowhere"], "nowhere: is not a run"),
        (["--force", "nowhere.en"], "nowhere.en: cannot read"),
    ],
)
def test_wrong_use_is_told_in_one_line(options: list[object], words: str, trained: Path) -> None:
    called = nmt_translate("-m", trained, *options, given="Guten Morgen!\n")
    assert words in called.complaint
    assert called.complaint.startswith("nmt-translate: ")
    assert called.out == ""


def test_a_run_must_be_named() -> None:
    assert "-m/--model" in nmt_translate().complaint


def test_the_input_is_never_overwritten(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("Guten Morgen!\n")
    for options in (["-o", file], ["--alignments", file]):
        assert "is read and written" in nmt_translate("-m", trained, file, *options).complaint
    assert file.read_text() == "Guten Morgen!\n"


def test_translating_writes_nothing_into_the_run(trained: Path) -> None:
    before = tree_of(trained)
    nmt_translate("-m", trained, given="Guten Morgen!\n")
    assert tree_of(trained) == before


def _read_line(process: Any) -> str:
    """A line of a process's output, within a minute."""
    found: Queue[str] = Queue()
    threading.Thread(target=lambda: found.put(process.stdout.readline()), daemon=True).start()
    return found.get(timeout=60)


@pytest.mark.slow
def test_a_pipe_is_answered_line_by_line_and_interrupted_without_noise(
    trained: Path, expected: list[str], sources: list[str]
) -> None:
    process = start_command("translate", "-m", trained, "--threads", 1, cwd=trained, stdin=PIPE)
    assert process.stdin is not None
    for number in (0, 3, 1):
        process.stdin.write(sources[number] + "\n")
        process.stdin.flush()
        assert _read_line(process) == expected[number] + "\n"
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.stderr is not None
    assert process.stderr.read() == "nmt-translate: interrupted\n"
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(
    trained: Path, expected: list[str], sources: list[str]
) -> None:
    process = start_command("translate", "-m", trained, "-b", 1, cwd=trained, stdin=PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(sources[0] + "\n")
    process.stdin.flush()
    assert _read_line(process) == expected[0] + "\n"
    process.stdout.close()
    process.stdin.write("\n".join(sources) + "\n")
    process.stdin.flush()  # and stays open
    assert process.wait() == 0
    assert process.stderr.read() == ""
    process.stdin.close()
    process.stderr.close()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", "--run --restart --check --device --list --schema CONFIG.yaml"),
        (
            "translate",
            "-m --checkpoint -o -b --beam-size --batch-tokens --max-length --length-penalty "
            "--alpha --coverage-penalty --beta --block-ngram-repeat --replace-unknown --sample "
            "--temperature --top-k --top-p --seed --device --precision --n-best --scores "
            "--alignments --alignment-level --jsonl --force INPUT",
        ),
        (
            "evaluate",
            "-m --metrics --tokenize --lowercase --baseline --json --alignments --gold REFERENCE",
        ),
    ],
)
def test_help_names_every_option_without_importing_what_is_heavy(
    command: str, options: str, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        f"from nmt.cli.{command} import main\n"
        "for option in ('--help', '--version'):\n"
        "    try:\n"
        "        main([option])\n"
        "    except SystemExit as left:\n"
        "        assert left.code == 0\n"
        "heavy = {'torch', 'pydantic', 'sentencepiece', 'matplotlib', 'sacrebleu', 'numpy'}\n"
        "print('imported', sorted(heavy & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    found = run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    words = found.stdout.replace(",", " ").replace("[", " ").replace("]", " ").split()
    assert [option for option in options.split() if option not in words] == []
    name = {"evaluate": "nmt-eval"}.get(command, f"nmt-{command}")
    assert found.stdout.splitlines()[-2].startswith(f"{name} ")
    assert found.stdout.splitlines()[-1] == "imported []"
    assert found.stderr == ""
