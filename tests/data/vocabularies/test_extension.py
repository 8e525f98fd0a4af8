"""Extension of vocabularies by tokens of another text, and the parts of new tokens."""

import pytest

from nmt.data.vocabularies.extension import extend, learn_extension, model_type, token_parts
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.sentencepiece_training import VocabularyType
from nmt.data.vocabularies.subword_nmt import Codes, SubwordNmtVocabulary
from nmt.data.vocabularies.words import WordVocabulary
from tests.commands import PHRASES, lines_of
from tests.data.vocabularies.conftest import CODES

OLD = [line for side in ("de", "en") for line in lines_of(PHRASES.with_suffix(f".{side}"))]
NEW = [f"Auftrag {n} é: Quiz Xylo {n + 1};" for n in range(10, 80)]


def _make(kind: VocabularyType, normalization: str = "nmt_nfkc") -> SentencePieceVocabulary:
    return SentencePieceVocabulary.train(OLD, size=120, type=kind, normalization=normalization)


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
def test_extended_vocabulary_keeps_its_ids_and_knows_the_new_text(kind: VocabularyType) -> None:
    old = _make(kind)
    assert model_type(old) == kind
    assert any(old.unk in old.encode(line) for line in NEW)
    tokens = learn_extension(old, NEW, size=60, symbols=["<bt>"])
    new = extend(old, tokens, ["<bt>"])
    ids = range(len(old))
    assert new.tokens(ids) == old.tokens(ids)
    assert new.special_tokens == old.special_tokens
    assert len(new) == len(old) + 1 + len(tokens)
    assert new.has_symbol("<bt>")
    for line in NEW:
        encoded = new.encode(f"<bt> {line}")
        assert new.unk not in encoded
        assert new.decode(encoded) == f"<bt> {line}"
    if kind == "bpe":  # merges of new merges
        assert "▁Auftrag" in new.tokens(new.encode(NEW[0]))


def test_text_of_the_vocabulary_itself_adds_few_tokens() -> None:
    old = _make("unigram")
    tokens = learn_extension(old, OLD, size=120, symbols=[])
    assert len(tokens) < 10
    assert not {"▁", "e", "<unk>", "<pad>"} & tokens.keys()
    assert extend(old, {}, []).serialized == old.serialized


def test_extension_normalizes_as_the_vocabulary_does() -> None:
    old = _make("unigram", "nmt_nfkc_cf")
    new = extend(old, learn_extension(old, ["ＱX"] * 30, size=40, symbols=[]))
    assert new.unk not in new.encode("ＱX")
    assert new.decode(new.encode("ＱX")) == "qx"


def test_words_are_extended_by_the_most_frequent_unknown_ones() -> None:
    old = WordVocabulary.make(["Auftrag", "Quiz"], "nmt_nfkc", files=["origin"])
    tokens = learn_extension(old, ["Xylo Ｑuiz neu neu", "neu ab"], size=6, symbols=["<bt>"])
    assert list(tokens) == ["neu", "Xylo"]  # two more than the special tokens
    new = extend(old, tokens, ["<bt>"])
    assert new.tokens(range(len(new))) == [
        *("<pad>", "<s>", "</s>", "<unk>", "Auftrag", "Quiz", "<bt>", "neu", "Xylo")
    ]
    assert new.has_symbol("<bt>") and new.user_defined_symbols == ["<bt>"]
    assert token_parts(old, new)[-3:] == [[], [], []]


def test_merge_operations_are_extended_by_unknown_characters() -> None:
    words = dict.fromkeys(part for word in ("lower", "slow") for part in Codes(CODES).split(word))
    old = SubwordNmtVocabulary.make(words, codes=CODES, symbols=[])
    line = "slower é<x>é slow"
    tokens = learn_extension(old, [line], size=100, symbols=["<x>"])
    new = extend(old, tokens, ["<x>"])
    assert isinstance(new, SubwordNmtVocabulary)
    ids = range(len(old))
    assert new.tokens(ids) == old.tokens(ids)
    assert new.unk not in new.encode(line) and old.unk in old.encode(line)
    assert new.tokens(new.encode("é<x>é")) == ["é@@", "<x>@@", "é"]
    assert new.decode(new.encode(line)) == line


def test_parts_of_tokens_spell_them() -> None:
    old = _make("unigram")
    new = extend(old, {"▁guten▁morgen": -3.0, "utenm": -4.0, "é": -9.0, "é!": -9.0})
    parts = token_parts(old, new)
    assert parts[: len(old)] == [[number] for number in range(len(old))]
    spelled = ["".join(old.tokens(own)) for own in parts[len(old) :]]
    assert spelled == ["▁guten▁morgen", "utenm", "", "!"]
    other = SentencePieceVocabulary.train(OLD, size=80, type="bpe")
    for number, own in enumerate(token_parts(old, other)):
        assert number < 4 or "".join(old.tokens(own)) == other.tokens([number])[0]
