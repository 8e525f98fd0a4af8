"""Metrics of translations."""

import logging

import pytest
import sacrebleu

from nmt.errors import UserError
from nmt.evaluation.metrics import MEASURED, higher_is_better, score

HYPOTHESES = ["The cat sat on a mat.", "he  reads the old book", "Good morning !", "Ja"]
FIRST = ["The cat sat on the mat.", "He reads an old book.", "Good morning!", "Yes"]
SECOND = ["A cat was on the mat.", "he is reading the old book", "Morning!", "Ja"]


def test_bleu_is_geometric_mean_of_precisions() -> None:
    # Precisions of 1- to 4-grams are 4/5, 3/4, 2/3 and 1/2; their product is 0.2.
    bleu = score(["bleu"], ["a b c d e"], [["a b c d f"]])["bleu"]
    assert bleu.score == pytest.approx(100 * 0.2**0.25)


@pytest.mark.parametrize("references", [[FIRST], [FIRST, SECOND]])
def test_scores_equal_sacrebleu(references: list[list[str]]) -> None:
    scores = score(["ter", "bleu", "chrf"], HYPOTHESES, references)
    assert list(scores) == ["ter", "bleu", "chrf"]
    assert scores["bleu"].score == sacrebleu.corpus_bleu(HYPOTHESES, references).score
    assert scores["chrf"].score == sacrebleu.corpus_chrf(HYPOTHESES, references).score
    assert scores["ter"].score == sacrebleu.corpus_ter(HYPOTHESES, references).score
    assert f"nrefs:{len(references)}|" in scores["bleu"].signature
    assert f"version:{sacrebleu.__version__}" in scores["bleu"].signature


def test_options_change_scores_and_signatures() -> None:
    scores = score(["bleu", "chrf"], HYPOTHESES, [FIRST], tokenize="char", lowercase=True)
    expected = sacrebleu.corpus_bleu(HYPOTHESES, [FIRST], tokenize="char", lowercase=True)
    assert scores["bleu"].score == expected.score
    assert "case:lc" in scores["bleu"].signature and "tok:char" in scores["bleu"].signature
    assert "case:lc" in scores["chrf"].signature


def test_exact_is_percentage_of_lines_equal_to_a_reference() -> None:
    hypotheses = [" yes ", "no", "Maybe", ""]
    assert score(["exact"], hypotheses, [["yes", "nope", "maybe", "x"]])["exact"].score == 25
    both = score(["exact"], hypotheses, [["yes", "nope", "maybe", "x"], ["-", "no\n", "-", ""]])
    assert both["exact"].score == 75
    lower = score(["exact"], hypotheses, [["yes", "nope", "maybe", "x"]], lowercase=True)
    assert lower["exact"].score == 50
    signature = "nrefs:2|case:mixed|strip:yes|version:" + sacrebleu.__version__
    assert both["exact"].signature == signature
    assert "case:lc" in lower["exact"].signature


def test_higher_is_better_except_for_losses_and_error_rates() -> None:
    lower = {name for name in MEASURED if not higher_is_better(name)}
    assert lower == {"loss", "perplexity", "ter", "aer"}
    with pytest.raises(UserError, match="meteor"):
        higher_is_better("meteor")


@pytest.mark.parametrize(
    ("names", "hypotheses", "references", "options", "message"),
    [
        (["bleu", "meteor"], ["a"], [["a"]], {}, "'meteor'; must be one of bleu, chrf, ter, exact"),
        ([], ["a"], [["a"]], {}, "no metric"),
        (["bleu"], ["a", "b"], [["a", "b"], ["a"]], {}, "2 hypotheses but 1 lines in reference 2"),
        (["bleu"], [], [[]], {}, "hypotheses are empty"),
        (["bleu"], ["a"], [], {}, "no reference"),
        (["bleu"], ["a"], [["a"]], {"tokenize": "moses"}, "tokenizer 'moses'; must be one of 13a"),
        (["chrf"], ["a"], [["a"]], {"tokenize": "zh"}, "no effect without bleu"),
    ],
)
def test_invalid_input_raises_user_error(
    names: list[str],
    hypotheses: list[str],
    references: list[list[str]],
    options: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message):
        score(names, hypotheses, references, **options)  # type: ignore[arg-type]


def test_tokenizer_with_missing_package_raises_one_line_user_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ko_mecab.MeCab", None)
    with pytest.raises(UserError, match=r"'ko-mecab'.*pip install sacrebleu\[ko\]") as caught:
        score(["bleu"], ["가"], [["가"]], tokenize="ko-mecab")
    assert "\n" not in str(caught.value)


def test_tokenized_text_logs_warning(caplog: pytest.LogCaptureFixture) -> None:
    lines = ["It is here ."] * 100
    with caplog.at_level(logging.WARNING):
        score(["bleu"], lines, [lines])
    assert "forgot to detokenize" in caplog.text
