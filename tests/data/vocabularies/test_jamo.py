"""Vocabularies of jamo, the letters of Hangul syllables, against Unicode's own decomposition."""

import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest

from nmt.config.loader import load_experiment
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.sentencepiece_training import VocabularyType
from nmt.errors import UserError
from tests.commands import nmt_eval, nmt_train, nmt_translate, write_experiment
from tests.conftest import tiny_experiment

LINES = ["로버트 로빈슨", "럭비 선수", "값이 없다", "렙톤 렙톤", "마거리트 é", "넋을 잃다"] * 4
TYPES: list[VocabularyType] = ["char", "unigram", "bpe"]


def _learn(kind: VocabularyType) -> SentencePieceVocabulary:
    return SentencePieceVocabulary.train(LINES, size=34, type=kind, normalization="jamo")


def _divide(text: str) -> str:
    is_syllable = ("가" <= character <= "힣" for character in text)
    return "".join(
        unicodedata.normalize("NFD", one) if divided else one
        for one, divided in zip(text, is_syllable, strict=True)
    )


@pytest.mark.parametrize("kind", TYPES)
def test_syllables_are_divided_and_joined_again(kind: VocabularyType) -> None:
    vocabulary = _learn(kind)
    for line in LINES:
        assert vocabulary.normalize(line).strip() == _divide(line)
        assert vocabulary.denormalize(_divide(line)) == line
        assert vocabulary.decode(vocabulary.encode(line)) == line
    # Syllables that the text lacks, from jamo that it has.
    assert vocabulary.decode(vocabulary.encode("빈럽")) == "빈럽"


def test_every_syllable_survives() -> None:
    syllables = "".join(map(chr, range(0xAC00, 0xD7A4)))
    vocabulary = _learn("char")
    divided = vocabulary.normalize(syllables).strip()
    assert divided == unicodedata.normalize("NFD", syllables)
    assert vocabulary.denormalize(divided) == syllables


@pytest.mark.parametrize("kind", TYPES)
def test_tokens_cover_the_syllables_that_begin_in_them(kind: VocabularyType) -> None:
    vocabulary = _learn(kind)
    ids = vocabulary.encode("로빈 값")
    text, spans = vocabulary.decode_with_spans(ids)
    assert text == "로빈 값"
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(left[1] == right[0] for left, right in pairwise(spans))
    source = vocabulary.spans("로빈 값")
    assert len(source) == len(ids)
    assert source[-1][1] == len(text)


def test_the_same_text_gives_the_same_bytes() -> None:
    assert _learn("unigram").serialized == _learn("unigram").serialized


@pytest.mark.parametrize("joint", [True, False])
def test_a_run_translates_into_syllables(joint: bool, tmp_path: Path) -> None:
    phrases = [
        f"{first} {second}" for first in ("rob", "rug", "val") for second in ("in", "by", "ue")
    ]
    korean = [f"{first} {second}" for first in ("롭", "럭", "값") for second in ("인", "비", "유")]
    for language, lines in (("en", phrases), ("ko", korean)):
        (tmp_path / f"text.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = tiny_experiment()
    rules = {"source": "nmt_nfkc", "target": "jamo"}
    vocabulary = {"type": "char", "size": 60, "joint": joint, "normalization": rules}
    files = {"train": str(tmp_path / "text"), "valid": str(tmp_path / "text")}
    tree["data"] = files | {"source": "en", "target": "ko", "vocabulary": vocabulary}
    tree["training"] |= {"epochs": 20, "batch_sentences": 3}
    called = nmt_train(write_experiment(tmp_path / "jamo.yaml", tree), "--run", tmp_path / "run")
    assert called.code == 0, called.err
    assert "cannot be translated exactly" not in called.err
    called = nmt_translate("-m", tmp_path / "run", tmp_path / "text.en")
    translated = called.out.splitlines()
    assert [unicodedata.normalize("NFC", line) for line in translated] == translated
    assert sum(map(str.__eq__, translated, korean)) >= 6
    called = nmt_eval("-m", tmp_path / "run", tmp_path / "text.en", tmp_path / "text.ko")
    assert called.code == 0, called.err


@pytest.mark.parametrize("option", ["data.vocabulary.type=word", "data.vocabulary.codes=codes"])
def test_words_are_not_divided(option: str, tmp_path: Path) -> None:
    (tmp_path / "codes").touch()
    tree = tiny_experiment()
    del tree["data"]["vocabulary"]
    file = write_experiment(tmp_path / "a.yaml", tree)
    rule = "data.vocabulary.normalization={target: jamo}"
    with pytest.raises(UserError, match="normalization: jamo requires a SentencePiece vocabulary"):
        load_experiment(file, [option, rule])
