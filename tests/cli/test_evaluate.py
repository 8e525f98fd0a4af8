"""nmt-eval: scores equal to sacreBLEU's, and errors about invalid options."""

import json
import shutil
from pathlib import Path

import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from tests.commands import PHRASES, forget_inputs, lines_of, nmt_eval, nmt_translate


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return a worse copy of the English phrases, the phrases and a second reference."""
    english = lines_of(Path(f"{PHRASES}.en"))
    worse = [line.replace(" the ", " a ").replace("I ", "i ") for line in english]
    worse[7] = "Something quite different."
    other = [line.replace(" is ", " 's ") for line in english]
    for name, lines in (("worse", worse), ("other", other)):
        (tmp_path / f"{name}.en").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "worse.en", Path(f"{PHRASES}.en"), tmp_path / "other.en"


def test_scores_and_signatures_equal_those_of_sacrebleu(files: tuple[Path, Path, Path]) -> None:
    hypothesis, *references = files
    called = nmt_eval(*files, "--json", "--metrics", "bleu", "chrf", "ter", "exact")
    assert (called.code, called.err) == (0, "")
    found = json.loads(called.out)
    assert list(found) == ["bleu", "chrf", "ter", "exact"]
    lines = lines_of(hypothesis)
    others = [lines_of(reference) for reference in references]
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF()), ("ter", TER())):
        assert found[name]["score"] == metric.corpus_score(lines, others).score
        assert found[name]["signature"] == str(metric.get_signature())
    same = sum(line in options for line, *options in zip(lines, *others, strict=True))
    assert found["exact"]["score"] == pytest.approx(100 * same / 60)
    assert all(set(one) == {"score", "signature"} for one in found.values())


def test_bleu_and_chrf_are_the_default_metrics(files: tuple[Path, Path, Path]) -> None:
    called = nmt_eval(files[0], files[1])
    lines, reference = lines_of(files[0]), lines_of(files[1])
    rows = called.out.splitlines()
    assert [row.split()[0] for row in rows] == ["bleu", "chrf"]
    assert rows[0].split()[1] == f"{BLEU().corpus_score(lines, [reference]).score:.2f}"
    assert "nrefs:1" in rows[0]


def test_tokenizer_and_case_are_passed_to_sacrebleu(files: tuple[Path, Path, Path]) -> None:
    options = ["--metrics", "bleu", "--tokenize", "char", "--lowercase", "--json"]
    called = nmt_eval(files[0], files[1], *options)
    metric = BLEU(tokenize="char", lowercase=True)
    expected = metric.corpus_score(lines_of(files[0]), [lines_of(files[1])]).score
    assert json.loads(called.out)["bleu"]["score"] == expected


def test_a_model_gets_the_scores_of_its_translation(trained: Path, tmp_path: Path) -> None:
    source, reference = f"{PHRASES}.de", f"{PHRASES}.en"
    at_once = nmt_eval("-m", trained, source, reference, "-b", 2, "--threads", 1, "--json")
    nmt_translate("-m", trained, source, "-b", 2, "-o", tmp_path / "out.en")
    assert at_once.code == 0
    assert at_once.out == nmt_eval(tmp_path / "out.en", reference, "--json").out
    assert json.loads(at_once.out)["bleu"]["score"] > 5


def test_a_baseline_adds_intervals_and_p_values(files: tuple[Path, Path, Path]) -> None:
    worse, reference, other = files
    called = nmt_eval(other, reference, "--baseline", worse, "--metrics", "bleu", "--json")
    found = json.loads(called.out)["bleu"]
    alone = {
        name: json.loads(nmt_eval(file, reference, "--metrics", "bleu", "--json").out)["bleu"]
        for name, file in (("score", other), ("baseline", worse))
    }
    assert found["score"] == pytest.approx(alone["score"]["score"])
    assert found["baseline"] == pytest.approx(alone["baseline"]["score"])
    low, high = found["interval"]
    assert low < found["score"] < high
    assert 0 < found["p_value"] <= 1
    shown = nmt_eval(other, reference, "--baseline", worse, "--metrics", "bleu").out
    assert f"baseline {found['baseline']:.2f}" in shown
    assert "p = " in shown


def test_alignments_are_scored_against_gold_alignments(tmp_path: Path) -> None:
    (tmp_path / "links").write_text("0-0 1-1 2-1\n\n0-1\n")
    (tmp_path / "gold").write_text("0-0 1p1\n0-0\n0-1 1-0\n")
    called = nmt_eval("--alignments", tmp_path / "links", "--gold", tmp_path / "gold", "--json")
    found = json.loads(called.out)
    # 4 predicted, 4 sure; of the predicted, 2 are sure and 3 possible.
    assert found["precision"]["score"] == pytest.approx(75)
    assert found["recall"]["score"] == pytest.approx(50)
    assert found["aer"]["score"] == pytest.approx(100 * (1 - (2 + 3) / (4 + 4)))
    text = nmt_eval("--alignments", tmp_path / "links", "--gold", tmp_path / "gold").out
    assert [line.split() for line in text.splitlines()] == [
        ["precision", "75.00"],
        ["recall", "50.00"],
        ["aer", "37.50"],
    ]


CHINESE = ["我今天早上去市场买了三个红苹果。", "他的妹妹在图书馆里认真地看书。"]


def test_language_selects_the_tokenizer_as_in_sacrebleu(tmp_path: Path) -> None:
    hypotheses = [line.replace("早上", "晚上").replace("妹妹", "姐姐") for line in CHINESE]
    (tmp_path / "hyp.zh").write_text("\n".join(hypotheses) + "\n", encoding="utf-8")
    (tmp_path / "ref.zh").write_text("\n".join(CHINESE) + "\n", encoding="utf-8")
    files = [tmp_path / "hyp.zh", tmp_path / "ref.zh", "--metrics", "bleu", "--json"]
    found = json.loads(nmt_eval(*files, "--language", "zh_CN").out)["bleu"]
    metric = BLEU(trg_lang="zh")
    assert found["score"] == metric.corpus_score(hypotheses, [CHINESE]).score > 50
    assert found["signature"] == str(metric.get_signature())
    called = nmt_eval(*files)
    assert json.loads(called.out)["bleu"]["score"] < 1
    assert "almost no spaces" in called.err
    compared = nmt_eval(*files, "--language", "zh", "--baseline", tmp_path / "hyp.zh")
    assert json.loads(compared.out)["bleu"]["score"] == pytest.approx(found["score"])


def test_a_run_selects_the_tokenizer_by_its_target(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run, symlinks=True)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("target: en", "target: zh"), encoding="utf-8")
    forget_inputs(run)
    called = nmt_eval("-m", run, f"{PHRASES}.de", f"{PHRASES}.en", "-b", 1, "--json")
    assert "tok:zh" in json.loads(called.out)["bleu"]["signature"]
    called = nmt_eval(
        *("-m", run, f"{PHRASES}.de", f"{PHRASES}.en", "-b", 1, "--json", "--tokenize", "char")
    )
    assert "tok:char" in json.loads(called.out)["bleu"]["signature"]


def test_files_may_precede_and_follow_options(files: tuple[Path, Path, Path]) -> None:
    assert nmt_eval(files[0], "--json", files[1]).out == nmt_eval(files[0], files[1], "--json").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "HYPOTHESIS and REFERENCE are required"),
        (["HYP"], "worse.en: a REFERENCE is required"),
        (["HYP", "SHORT"], "60 hypotheses but 2 lines in reference 1"),
        (["HYP", "nowhere"], "nowhere: not found"),
        (["HYP", "REF", "--metrics", "blue"], "blue"),
        (["HYP", "REF", "--metrics", "ter", "--tokenize", "char"], "has no effect without bleu"),
        (["HYP", "REF", "--tokenize", "letters"], "unknown tokenizer 'letters'"),
        (["HYP", "REF", "--language", "zh", "--tokenize", "zh"], "no effect with --tokenize"),
        (["HYP", "REF", "--language", "zh", "--metrics", "ter"], "no effect without bleu"),
        (["--language", "zh"], "--language requires FILE and REFERENCE"),
        (["HYP", "REF", "--alignments", "LINKS"], "--alignments requires --gold"),
        (["--gold", "LINKS"], "--gold requires --alignments"),
        (["--alignments", "BAD", "--gold", "LINKS"], "bad:1: 'x' is not a link"),
        (["--alignments", "SHORT", "--gold", "LINKS"], "short:1: "),
        (["HYP", "REF", "-b", "3"], "--beam-size requires -m RUN"),
        (["--lowercase"], "--lowercase requires FILE and REFERENCE"),
        (["HYP", "REF", "-m", "nowhere"], "nowhere: not found; give a run or a bundle"),
        (["HYP", "REF", "--baseline", "SHORT"], "lines"),
    ],
)
def test_a_user_error_is_one_line(
    arguments: list[str], words: str, files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "short").write_text("one\ntwo\n")
    (tmp_path / "links").write_text("0-0\n")
    (tmp_path / "bad").write_text("x\n")
    names = {"HYP": files[0], "REF": files[1]}
    names |= {name: tmp_path / name.lower() for name in ("SHORT", "LINKS", "BAD")}
    called = nmt_eval(*(names.get(argument, argument) for argument in arguments))
    assert words in called.complaint
    assert called.complaint.startswith("nmt-eval: ")
    assert called.out == ""
