"""Report of the characters that a vocabulary changes or cannot represent."""

from pathlib import Path

import pytest

from nmt.data.corpus import find_corpus
from nmt.data.text_coverage import TextCoverage, measure_coverage
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary

LEARNED = ["abcd efgh", "it s fine 1/2 ..."]


def _measure(tmp_path: Path, source: list[str], target: list[str], rule: str) -> list[TextCoverage]:
    for side, lines in (("de", source), ("en", target)):
        (tmp_path / f"text.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    vocabulary = SentencePieceVocabulary.train(LEARNED, size=100, type="char", normalization=rule)
    corpus = find_corpus(tmp_path / "text", "de", "en")
    encoded = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=100, cache_dir=None)
    return measure_coverage(corpus, encoded, vocabulary, vocabulary)


def test_changed_lines_and_characters_are_counted(tmp_path: Path) -> None:
    target = ["a\u200cb", " a  b ", "it´s", "ab", "½"]
    source, report = _measure(tmp_path, ["ab"] * 5, target, "nmt_nfkc")
    assert (source.changed_lines, source.lines, source.warnings()) == (0, 5, [])
    assert report.changed_lines == 3
    assert set(report.changed) == {"\u200c", "´", "½"}
    text = str(report)
    assert "normalization changes 3 of 5 lines" in text and "½ U+00BD" in text
    assert "(U+200C" in text  # no glyph
    assert "cannot be translated exactly" in report.warnings()[0]
    assert "{target: identity}" in report.warnings()[0]


def test_identity_changes_only_the_escape_character_of_spaces(tmp_path: Path) -> None:
    target = ["a\u200cb", "it´s", "a▁b", " a  b"]
    _, report = _measure(tmp_path, ["ab"] * 4, target, "identity")
    assert (report.changed_lines, set(report.changed)) == (1, {"▁"})


def test_symbols_that_no_text_contains_are_warned_about(tmp_path: Path) -> None:
    symbols = ["⟦1⟧", "⟦2⟧", "{x}"]
    vocabulary = SentencePieceVocabulary.train(
        LEARNED, size=100, type="char", user_defined_symbols=symbols
    )
    for side, lines in (("de", "a⟦1⟧b"), ("en", "{x} a")):
        (tmp_path / f"text.{side}").write_text(lines + "\n", encoding="utf-8")
    corpus = find_corpus(tmp_path / "text", "de", "en")
    encoded = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=100, cache_dir=None)
    _, target = measure_coverage(corpus, encoded, vocabulary, vocabulary, symbols)
    assert target.unseen == ["⟦2⟧"]
    (warning,) = target.warnings()
    assert "does not contain ⟦2⟧" in warning
    assert str(target).endswith("0.00 % of the tokens are unknown")  # although `{` alone would be


@pytest.mark.parametrize(
    ("target", "share", "warned", "refused"),
    [
        (["abcd"] * 400, 0.0, False, False),
        (["abcd"] * 400 + ["aQ"], 1 / 2003, False, False),
        (["abcd"] * 100 + ["Q a"], 1 / 504, True, False),
        (["abQQ"], 1 / 4, True, True),
        (["QR abc é"], 2 / 8, True, True),
    ],
)
def test_unknown_tokens_are_warned_about_and_refused(
    target: list[str], share: float, warned: bool, refused: bool, tmp_path: Path
) -> None:
    _, report = _measure(tmp_path, ["ab"] * len(target), target, "identity")
    assert report.unknown_share == pytest.approx(share, abs=2e-4)
    assert bool(report.warnings()) == warned
    assert (report.refusal() is not None) == refused
    if warned:
        words = report.warnings()[0]
        assert "Q U+0051" in words and f"{100 * report.unknown_share:.2f} %" in words
