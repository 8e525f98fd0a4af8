"""Placeholders are masked in the source and copied to the translation."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.config.schema import DataConfig
from nmt.data.corpus import find_corpus
from nmt.data.placeholders import MASKS, Placeholders, find_placeholders
from nmt.data.preparation import Preparation
from nmt.data.vocabularies.learning import learn_vocabularies
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.words import WordVocabulary
from nmt.errors import UserError

PATTERNS = (r"⟦\d+⟧", r"\{\w+\}", "%[sd]")
MASKED = Placeholders(PATTERNS, MASKS)
SYMBOLS = Placeholders((), ("⟦1⟧", "⟦2⟧", "%s"))
FIND = re.compile("|".join(PATTERNS))


def test_different_placeholders_get_masks_in_their_order() -> None:
    source = "⟦7⟧ {a} ⟦7⟧ %s."
    assert MASKED.mask(source) == "｟1｠ ｟2｠ ｟1｠ ｟3｠."
    # The translation has the masks of its source; other placeholders are text.
    assert MASKED.mask("%s {a}, %d", source) == "｟3｠ ｟2｠, %d"
    assert MASKED.restore("｟3｠ ｟2｠｟1｠ ｟1｠", source) == "%s {a}⟦7⟧ ⟦7⟧"


def test_placeholders_beyond_the_masks_are_text() -> None:
    source = " ".join(f"⟦{number}⟧" for number in range(1, 12))
    assert MASKED.mask(source) == " ".join([*MASKS, "⟦10⟧", "⟦11⟧"])
    assert MASKED.restore(" ".join(MASKS), source) == source[: source.index(" ⟦10⟧")]


def test_mask_in_a_text_is_a_placeholder() -> None:
    source = "｟3｠ {a}"
    assert MASKED.mask(source) == "｟1｠ ｟2｠"
    assert MASKED.restore("｟2｠ ｟1｠", source) == "{a} ｟3｠"


@pytest.mark.parametrize(
    ("decoded", "expected"),
    [
        ("x ｟2｠ y", "x {a} y ⟦7⟧"),  # one is missing
        ("｟9｠ y ｟2｠", "⟦7⟧ y {a}"),  # a wrong one
        ("｟1｠ ｟2｠ ｟2｠ y", "⟦7⟧ {a} y"),  # a surplus one
        ("", "⟦7⟧ {a}"),
    ],
)
def test_translation_has_each_placeholder_of_its_source(decoded: str, expected: str) -> None:
    assert MASKED.restore(decoded, "⟦7⟧ {a}") == expected


words = st.lists(st.sampled_from(["x", "⟦7⟧", "⟦12⟧", "{a}", "%s", "｟2｠", "y."]), max_size=8)
decoded_words = st.lists(
    st.sampled_from(["x", "｟1｠", "｟2｠", "｟3｠", "｟4｠", "y."]), max_size=8
)


@given(words, decoded_words)
def test_any_translation_has_the_placeholders_of_its_source(
    source: list[str], decoded: list[str]
) -> None:
    found = re.compile(f"{FIND.pattern}|｟\\d｠").findall
    restored = MASKED.restore(" ".join(decoded), " ".join(source))
    assert sorted(found(restored)) == sorted(found(" ".join(source)))
    assert [word for word in restored.split() if word in "x y."] == [
        word for word in decoded if word in "x y."
    ]


def test_wrong_symbols_are_replaced_and_others_are_kept() -> None:
    assert SYMBOLS.mask("⟦2⟧ x") == "⟦2⟧ x"
    assert SYMBOLS.restore("⟦1⟧ y", "⟦2⟧ x") == "⟦2⟧ y"
    assert SYMBOLS.restore("⟦1⟧ y ⟦2⟧", "⟦2⟧ x") == "⟦1⟧ y ⟦2⟧"
    assert SYMBOLS.restore("y", "⟦2⟧ x") == "y"


@pytest.fixture(scope="module")
def vocabulary() -> SentencePieceVocabulary:
    """Train a vocabulary with placeholders and a tag."""
    return SentencePieceVocabulary.train(
        ["a b"], size=20, type="char", user_defined_symbols=["⟦1⟧", "⟦2⟧", "<2de>"]
    )


def test_symbols_of_a_model_are_placeholders_except_tags(
    vocabulary: SentencePieceVocabulary,
) -> None:
    assert vocabulary.user_defined_symbols == ["⟦1⟧", "⟦2⟧", "<2de>"]
    normalized = vocabulary.with_normalization("nfkc")
    assert normalized.user_defined_symbols == vocabulary.user_defined_symbols
    assert find_placeholders(None, vocabulary, vocabulary) == Placeholders((), ("⟦1⟧", "⟦2⟧"))
    plain = SentencePieceVocabulary.train(["a b"], size=20, type="char")
    assert find_placeholders(None, plain, plain) is None
    without = find_placeholders(None, vocabulary, vocabulary, ["⟦2⟧"])
    assert without == Placeholders((), ("⟦1⟧",))
    assert find_placeholders([], vocabulary, vocabulary) is None
    assert find_placeholders(None, None, vocabulary) is None


def test_masks_are_tokens_of_both_vocabularies(vocabulary: SentencePieceVocabulary) -> None:
    patterns = [r"⟦\d+⟧"]
    found = find_placeholders(patterns, vocabulary, vocabulary)
    assert found == Placeholders((r"⟦\d+⟧",), ("⟦1⟧", "⟦2⟧"))
    assert found.restore(found.mask("⟦9⟧ a"), "⟦9⟧ a") == "⟦9⟧ a"
    words = WordVocabulary.make(["｟2｠", "⟦1⟧"], symbols=["｟2｠"])
    assert find_placeholders(patterns, words, words) == Placeholders((r"⟦\d+⟧",), ("｟2｠",))
    with pytest.raises(UserError, match="requires vocabularies with tokens for placeholders"):
        find_placeholders(["%s"], vocabulary, words)


@pytest.mark.parametrize("pattern", ["(", "x*", "(?P<a>x)", r"(x)\1"])
def test_unusable_pattern_is_an_error(pattern: str) -> None:
    values = {"train": Path("t"), "valid": Path("v"), "source": "de", "target": "en"}
    with pytest.raises(ValueError, match="placeholders"):
        DataConfig.model_validate(values | {"placeholders": [pattern]})


def test_pairs_of_files_are_masked() -> None:
    pairs = [("{a} liest", "reads {a}"), ("x", "%s")]
    assert list(Preparation(placeholders=MASKED).pairs(pairs)) == [
        ("｟1｠ liest", "reads ｟1｠"),
        ("x", "%s"),
    ]
    assert list(Preparation(placeholders=SYMBOLS).pairs(pairs)) == pairs


@pytest.mark.parametrize(("type_", "rule"), [("word", "nmt_nfkc"), ("bpe", "identity")])
def test_masks_are_not_normalized(type_: str, rule: str, tmp_path: Path) -> None:
    for side in ("de", "en"):
        (tmp_path / f"train.{side}").write_text("ﬁn {a} x\nx x\n" * 40)
    text = tmp_path / "train"
    vocabulary = {"type": type_, "size": 24, "normalization": {"target": rule}}
    values = {"train": text, "valid": text, "source": "de", "target": "en"}
    others = {"placeholders": [r"\{\w+\}"], "vocabulary": vocabulary}
    data = DataConfig.model_validate(values | others)
    _, learned = learn_vocabularies(data, find_corpus(text, "de", "en"))
    ids = learned.encode(" ﬁn  ｟1｠① ｟1｠ x")
    assert learned.tokens(ids).count("｟1｠") == (1 if type_ == "word" else 2)
    assert "⦅" not in "".join(learned.tokens(range(len(learned))))
    words = WordVocabulary.make(["｟1｠"], "nmt_nfkc", symbols=["｟1｠"])
    line = " ﬁn  ｟1｠① ｟1｠ \U0010fffd｟2｠"
    assert words.normalize(line) == "fin ｟1｠1 ｟1｠ \U0010fffd⦅2⦆"
    found = [line[start:end] for start, end in words.spans(line)]
    assert found == ["ﬁn", "｟1｠①", "｟1｠", "\U0010fffd｟2｠"]
