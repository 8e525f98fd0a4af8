"""Tokenization before the vocabulary, detokenization of translations, and projection of spans."""

import sys
from pathlib import Path

import numpy as np
import pytest

from nmt.config.schema import DataConfig
from nmt.data.moses import _load
from nmt.data.placeholders import MASKS, Placeholders
from nmt.data.preparation import UNPREPARED, Preparation, project
from nmt.data.tokenization import TokenizationSpec, tokenize_block
from nmt.data.vocabularies.words import WordVocabulary
from nmt.errors import UserError
from nmt.search.hypothesis import Hypothesis
from nmt.search.postprocessing import to_translation
from nmt.search.source_reader import TextReader

MOSES = Preparation(pre="moses", post=("moses",), languages=("de", "en"))


def test_spans_are_projected_to_text_with_most_characters_in_common() -> None:
    tokenized, text = "( Ein Mann ) .", "(Ein Mann)."
    spans = [(0, 1), (2, 5), (6, 10), (11, 12), (13, 14)]
    assert [text[slice(*span)] for span in project(spans, tokenized, text)] == tokenized.split()
    masked, original = "｟1｠ liest ｟2｠", "{name} liest %s"
    spans = [(0, 3), (4, 9), (10, 13)]
    assert [original[slice(*span)] for span in project(spans, masked, original)] == [
        "{name}",
        "liest",
        "%s",
    ]
    assert project(spans, masked, masked) == spans
    assert project([(0, 0), (0, 3)], "abc", "") == [(0, 0), (0, 0)]


def test_files_are_prepared_unless_they_are_tokenized() -> None:
    pytest.importorskip("sacremoses")
    pair = ('Er sagt: "Ja".', "He says.")
    assert list(MOSES.pairs([pair])) == [('Er sagt : " Ja " .', "He says .")]
    assert MOSES.reference("He says.") == "He says."
    tokenized = Preparation(pre="moses", post=("moses",), languages=("de", "en"), tokenized=True)
    assert list(tokenized.pairs([pair])) == [pair]
    assert tokenized.source("Ja.") == "Ja ."
    assert tokenized.reference("He says .") == "He says."
    # Without pre, the files are tokenized.
    detokenized = Preparation(post=("subword_nmt", "moses"), languages=("de", "en"))
    assert detokenized.reference("He sa@@ ys@@ .") == "He says."
    assert detokenized.restore("Tom &amp; Ann sa@@ y .", "") == "Tom & Ann say."


def test_moses_tokenizes_tokenized_text_to_itself_and_keeps_masks() -> None:
    pytest.importorskip("sacremoses")
    masked = Preparation("moses_escaped", (), ("de", "de"), False, Placeholders(("%s",), MASKS))
    tokenized = masked.source("Tom's (%s) & <b>.")
    assert tokenized == "Tom &apos; s ( ｟1｠ ) &amp; &lt; b &gt; ."
    assert masked.source(tokenized) == tokenized
    for pre in ("moses", "moses_escaped"):
        tagged = Preparation(pre, (), ("de", "de"), tags=("<2de>",))
        assert tagged.source("<2de> Ja.") == "<2de> Ja ."


def test_translation_refers_to_the_text_as_it_was_written() -> None:
    pytest.importorskip("sacremoses")
    vocabulary = WordVocabulary.make(["(", "Ja", ")", "."])
    reader = TextReader(vocabulary, preparation=MOSES)
    source = "(Ja)."
    (ids,) = reader.encode([source])
    assert reader.pieces(ids) == ["(", "Ja", ")", "."]
    assert reader.spans(source) == [(0, 1), (1, 3), (3, 4), (4, 5)]
    hypothesis = Hypothesis([*ids, vocabulary.eos], 0.0, 0.0, [0.0] * 5, None, True)
    pieces, spans = reader.pieces(ids), reader.spans(source)
    made = to_translation(
        source, pieces, hypothesis, vocabulary, source_spans=spans, preparation=MOSES
    )
    assert (made.text, made.pieces, made.spans) == ("(Ja).", ("(", "Ja", ")", "."), tuple(spans))
    scored = to_translation(
        source, pieces, hypothesis, vocabulary, source_spans=spans, target="Ja.", preparation=MOSES
    )
    assert (scored.text, scored.spans) == ("Ja.", ((0, 2), (2, 3)))


def test_prepared_text_is_tokenized_and_identified() -> None:
    vocabulary = WordVocabulary.make([*MASKS, "liest", "reads"])
    preparation = Preparation(placeholders=Placeholders(("%[sd]",), MASKS))
    spec = TokenizationSpec(vocabulary, vocabulary, 10, preparation)
    block = tokenize_block(spec, b"%d liest\nreads %d\n")
    np.testing.assert_array_equal(block.sources.ids, vocabulary.encode("｟1｠ liest"))
    np.testing.assert_array_equal(block.targets.ids, vocabulary.encode("reads ｟1｠"))
    plain = TokenizationSpec(vocabulary, vocabulary, 10)
    assert plain.preparation == UNPREPARED
    assert spec.fingerprint("text") != plain.fingerprint("text")


def test_missing_package_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    _load.cache_clear()
    with pytest.raises(UserError, match=r"requires the package sacremoses; .*nmt\[moses\]"):
        MOSES.source("Ja.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenized": True}, "tokenized has no effect without pre"),
        ({"tokenized": True, "pre": "moses"}, "tokenized requires post"),
        ({"pre": "moses", "pictures": {"size": 8}}, "pre has no effect with pictures"),
        ({"post": ["moses", "moses"]}, "contains 'moses' twice"),
    ],
)
def test_options_without_effect_are_errors(options: dict[str, object], message: str) -> None:
    values = {"train": Path("t"), "valid": Path("v"), "source": "de", "target": "en"}
    assert DataConfig.model_validate(values | {"post": "moses"}).post == ["moses"]
    with pytest.raises(ValueError, match=message):
        DataConfig.model_validate(values | options)
