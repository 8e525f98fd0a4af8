"""nmt-translate: input, search options, models and errors."""

import gzip
import json
from pathlib import Path

import pytest

from nmt.search.translator import Translator
from tests.commands import PHRASES, lines_of, nmt_translate, tree_of


def test_output_has_one_line_per_input_line_in_order(
    de: Path, trained: Path, expected: list[str], tmp_path: Path
) -> None:
    printed = nmt_translate("-m", trained, de)
    assert printed.code == 0
    # The rounding of the CPU decides whether this small model ends every translation.
    assert all("reached the maximum length" in line for line in printed.err.splitlines())
    assert printed.lines == expected
    written = nmt_translate("-m", trained, de, "-o", tmp_path / "out.en")
    assert written.out == ""
    assert (tmp_path / "out.en").read_text(encoding="utf-8") == printed.out
    assert nmt_translate("-m", trained, given=de.read_bytes()).out == printed.out
    assert nmt_translate("-m", trained, "-", "-o", "-", given=de.read_bytes()).out == printed.out


def test_only_lf_and_crlf_end_an_input_line(trained: Path, expected: list[str]) -> None:
    first, second = "Guten Morgen!", "Das Fenster ist offen."
    lines = [first, "", " \t", second, first + "\u2028" + second, "\x0c", first + "\x85", "한국어"]
    given = "\n".join(lines)
    whole = nmt_translate("-m", trained, given=given)
    found = whole.lines
    assert len(found) == len(lines)
    assert found[0] == expected[0]
    assert found[1] == found[2] == found[5] == ""
    assert nmt_translate("-m", trained, given=given + "\n").out == whole.out
    assert nmt_translate("-m", trained, given=given.replace("\n", "\r\n")).out == whole.out
    marked = b"\xef\xbb\xbf" + given.encode()
    assert nmt_translate("-m", trained, given=marked).out == whole.out


def test_empty_input_gives_empty_output(trained: Path) -> None:
    assert nmt_translate("-m", trained, given="") == (0, "", "")
    assert nmt_translate("-m", trained, given="\n") == (0, "\n", "")


def test_long_input_line_gives_one_output_line(trained: Path, sources: list[str]) -> None:
    huge = " ".join(sources * 4)
    called = nmt_translate("-m", trained, "--max-length", 9, given=f"{huge}\nGuten Morgen!\n")
    assert len(called.lines) == 2


def test_gzip_input_is_decompressed(
    trained: Path, de: Path, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "phrases.gz").write_bytes(gzip.compress(de.read_bytes()))
    assert nmt_translate("-m", trained, tmp_path / "phrases.gz").lines == expected


def test_unknown_script_in_the_source_is_preserved_in_json(trained: Path) -> None:
    korean = PHRASES.with_suffix(".ko")
    called = nmt_translate("-m", trained, korean, "--jsonl", "-b", 1)
    found = [json.loads(line) for line in called.lines]
    assert [one["source"] for one in found] == lines_of(korean)


def test_input_that_is_not_utf8_is_reported_with_its_line(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.de").write_bytes(b"Guten Morgen!\n\xff\n")
    called = nmt_translate("-m", trained, tmp_path / "bad.de")
    assert f"{tmp_path / 'bad.de'}:2: byte 1 is not UTF-8" in called.complaint
    called = nmt_translate("-m", trained, given=b"\xff\n")
    assert "standard input:1: byte 1 is not UTF-8" in called.complaint


def test_several_models_form_an_ensemble(trained: Path, second: Path) -> None:
    called = nmt_translate("-m", trained, "-m", second, "--scores", given="Guten Morgen!\n")
    both = Translator.load(trained, second).translate(["Guten Morgen!"])[0]
    assert called.out == f"{both.text}\t{both.score:.4f}\n"


def test_samples_depend_on_seed_and_line_number_alone(trained: Path, sources: list[str]) -> None:
    given = "\n".join(sources[:10]) + "\n"
    options = ["-m", trained, "--sample", "--temperature", 1.5, "--top-k", 50, "--top-p", 0.95]
    first = nmt_translate(*options, given=given)
    assert nmt_translate(*options, given=given).out == first.out
    assert nmt_translate(*options, "--batch-sentences", 1, given=given).out == first.out
    assert nmt_translate(*options, "--seed", 2, given=given).out != first.out


def test_replace_unknown_changes_text_but_not_pieces(trained: Path) -> None:
    given = "Ich komme aus 서울.\n"
    plain = nmt_translate("-m", trained, "--jsonl", given=given)
    replaced = nmt_translate("-m", trained, "--jsonl", "--replace-unknown", given=given)
    assert json.loads(plain.out)["pieces"] == json.loads(replaced.out)["pieces"]
    assert ("<unk>" in json.loads(plain.out)["pieces"]) == (plain.out != replaced.out)


def test_options_accept_dashes_and_underscores(trained: Path) -> None:
    given = "Guten Morgen!\nWie heißt du?\n"
    dashed = ["--beam-size", 2, "--length-penalty", "gnmt", "--max-length=7", "--n-best", 2]
    scored = [str(option).replace("-", "_").replace("__", "--") for option in dashed]
    one = nmt_translate("-m", trained, *dashed, given=given)
    two = nmt_translate("-m", trained, *scored, given=given)
    assert one.code == 0
    assert one == two


def test_reranking_writes_the_scores_of_all_models(trained: Path) -> None:
    given, options = "Guten Morgen!\n", ["-b", 3, "--rerank", trained, "--rerank-weight", 0.5]
    called = nmt_translate("-m", trained, *options, "--n-best", 2, given=given)
    (best,) = Translator.load(trained, rerank=[trained], rerank_weight=0.5).translate(
        [given.strip()], beam_size=3, n_best=2
    )
    assert called.lines == [
        f"0 ||| {one.text} ||| logprob= {one.log_prob:.4f} scores= "
        f"{one.model_scores[0]:.4f} {one.model_scores[1]:.4f} ||| {one.score:.4f}"
        for one in best.n_best
    ]
    # The same model again, except for segmentations that its vocabulary would not choose.
    assert best.model_scores[0] == pytest.approx(best.model_scores[1], rel=1e-4)


@pytest.mark.slow
def test_batch_size_changes_no_output_line(trained: Path, sources: list[str]) -> None:
    given = "\n".join(sources[:12]) + "\n"
    whole = nmt_translate("-m", trained, "-b", 2, given=given)
    for batch in (["--batch-sentences", 1], ["--batch-sentences", 7], ["--batch-tokens", 30]):
        assert nmt_translate("-m", trained, "-b", 2, *batch, given=given) == whole


@pytest.mark.parametrize("checkpoint", ["best", "last", "average", "100"])
def test_checkpoint_is_selected_by_name_or_update(checkpoint: str, trained: Path) -> None:
    called = nmt_translate(
        "-m", trained, "--checkpoint", checkpoint, "--scores", given="Wie heißt du?\n"
    )
    (one,) = Translator.load(trained, checkpoint=checkpoint).translate(["Wie heißt du?"])
    assert called.out == f"{one.text}\t{one.score:.4f}\n"


@pytest.mark.parametrize(
    "options", [["--precision", "bf16"], ["--precision", "int8"], ["--shortlist"], ["--fast"]]
)
def test_faster_modes_translate(options: list[str], trained: Path, expected: list[str]) -> None:
    called = nmt_translate("-m", trained, "--device", "cpu", *options, given="Guten Morgen!\n")
    assert called == (0, expected[0] + "\n", "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--beam-size", 0], "must be at least 1"),
        (["--beam-size", "many"], "expected a whole number"),
        (["--temperature", 2], "--temperature: requires --sample"),
        (["--sample", "--top-p", 2], "--top-p: must be at most 1, got 2"),
        (["--sample", "--temperature", 0], "--temperature: must be at least 0.001, got 0"),
        (["--candidates", 3], "--candidates: has no effect without --mbr"),
        (["--mbr", "chrf", "-b", 1], "--mbr: requires several candidates"),
        (["--rerank", ".", "--mbr", "chrf"], "--mbr: is not possible with --rerank"),
        (["--rerank", "."], ".: is not a run"),
        (["--rerank-weight", 2], "--rerank-weight: has no effect without --rerank; remove it"),
        (["--rerank-weight", 0], "--rerank-weight: expected a number above 0, got '0'"),
        (["--alpha", "-1"], "--alpha: must be at least 0, got -1"),
        (
            ["--length-penalty", "none", "--alpha", 1],
            "--alpha: has no effect with --length-penalty none",
        ),
        (["--beta", 1], "--beta: has no effect with --coverage-penalty none"),
        (["--length-penalty", "mean"], "--length-penalty: unknown length penalty 'mean'"),
        (["--n-best", 2, "--scores"], "the output of --n-best contains the scores; remove"),
        (["--jsonl", "--scores"], "the output of --jsonl contains the scores; remove"),
        (["--force", "x", "--n-best", 2], "--n-best: has no effect with --score-targets"),
        (["--beam-tree"], "--beam-tree: has no effect without --jsonl or --report; add one"),
        (["--jsonl", "--beam-tree", "--sample"], "--beam-tree: has no effect with --sample"),
        (["--force", "x", "--beam-tree"], "--beam-tree: has no effect with --score-targets"),
        (["--force", "x", "--shortlist"], "--shortlist: has no effect with --score-targets"),
        (
            ["--fast", "--precision", "bf16", "--device", "cpu"],
            "precision bf16: has no effect with fast",
        ),
        (["--sample", "-b", 3], "--beam-size: has no effect with --sample"),
        (["--sample", "--alpha", 1], "--length-penalty: has no effect with --sample"),
        (["-b", 1, "--stop", "likely"], "--early-stopping: has no effect with --beam-size 1"),
        (["--recurrence", "graph", "--sample"], "--recurrence: graph has no effect with --sample"),
        (["--alignment-level", "piece"], "--alignment-level: has no effect without --alignments"),
        (["--checkpoint", "bset"], "use best, last, average or the number of an update"),
        (["--checkpoint", "51"], "no checkpoint 51; available: 100, 150"),
        (["--precision", "fp16", "--device", "cpu"], "precision fp16 requires a GPU"),
        (["--precision", "tf32", "--device", "cpu"], "precision tf32 requires a GPU"),
        (["--recurrence", "graph", "--device", "cpu"], "recurrence graph requires a GPU; use auto"),
        (["--precision", "fp64"], "fp64"),
        (["--devise", "cpu"], "--devise"),
        (["nowhere.de"], "nowhere.de: not found; give a text file"),
        (["-o", "nowhere/out.en"], "nowhere/out.en: cannot write"),
        (["--alignments", "nowhere/links"], "nowhere/links: cannot write"),
        (["-m", "nowhere"], "nowhere: not found; give a run or a bundle"),
        (["--force", "nowhere.en"], "nowhere.en: not found"),
    ],
)
def test_invalid_use_is_reported_in_one_line(
    options: list[object], words: str, trained: Path
) -> None:
    called = nmt_translate("-m", trained, *options, given="Guten Morgen!\n")
    assert words in called.complaint
    assert called.complaint.startswith("nmt-translate: ")
    assert called.out == ""


def test_missing_model_is_reported() -> None:
    assert "-m/--model" in nmt_translate().complaint


def test_output_that_is_also_input_is_rejected_and_kept(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("Guten Morgen!\n")
    for options in (["-o", file], ["--alignments", file]):
        assert "is both input and output" in nmt_translate("-m", trained, file, *options).complaint
    assert file.read_text() == "Guten Morgen!\n"


def test_translation_writes_nothing_to_the_run_directory(trained: Path) -> None:
    before = tree_of(trained)
    nmt_translate("-m", trained, given="Guten Morgen!\n")
    assert tree_of(trained) == before
