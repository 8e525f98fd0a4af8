"""Segmentation by merge operations of subword-nmt and fastBPE."""

import io
import random
from collections.abc import Sequence

import pytest

from nmt.data.vocabularies.subword_nmt import Codes, SubwordNmtVocabulary
from tests.data.vocabularies.conftest import CODES


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Ein", ["Ein"]),
        ("Eine", ["Ein@@", "e"]),
        ("Mann", ["Mann"]),
        ("Manna", ["Ma@@", "n@@", "n@@", "a"]),
        ("liest.", ["lie@@", "s@@", "t."]),
        ("E", ["E"]),
        ("漢字", ["漢@@", "字"]),
    ],
)
def test_pair_that_was_learned_first_is_merged(word: str, expected: Sequence[str]) -> None:
    assert Codes(CODES).split(word) == expected


def test_overlapping_pairs_are_merged_from_left_to_right() -> None:
    assert Codes("#version: 0.2\nx x").split("xxxxxy") == ["xx@@", "xx@@", "x@@", "y"]


def test_versions_differ_at_the_end_of_a_word() -> None:
    merges = "l o\nlo w\nw </w>\nlow </w>"
    assert Codes(merges).split("low") == ["low"]
    assert Codes(f"#version: 0.2\n{merges}").split("low") == ["lo@@", "w"]
    # fastBPE marks the last character, as version 0.2.
    assert Codes("l o 9\nlo w</w> 5").split("low") == ["low"]


def test_merges_to_unknown_tokens_are_undone() -> None:
    codes = Codes(CODES)
    assert codes.split("Mann", {"Ma@@", "nn"}) == ["Ma@@", "nn"]
    assert codes.split("Mann", {"Ma@@", "n@@", "n"}) == ["Ma@@", "n@@", "n"]
    assert codes.split("Mann", set()) == ["M@@", "a@@", "n@@", "n"]


def test_symbols_are_kept_whole_inside_of_words() -> None:
    codes = Codes(CODES, ["{a}", "{a}{b}"])
    assert codes.split("Ein{a}Mann") == ["Ein@@", "{a}@@", "Mann"]
    assert codes.split("{a}{b}") == ["{a}{b}"]
    vocabulary = SubwordNmtVocabulary.make(
        ["Ein@@", "{a}@@", "Mann", "{a}"], codes=CODES, symbols=["{a}"]
    )
    ids = vocabulary.encode("Ein{a}Mann {a}")
    assert vocabulary.tokens(ids) == ["Ein@@", "{a}@@", "Mann", "{a}"]
    assert vocabulary.decode_with_spans(ids) == (
        "Ein{a}Mann {a}",
        [(0, 3), (3, 6), (6, 10), (11, 14)],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#version: 0.2\na b\nabc", "3: expected"),
        ("a b c", "1: expected"),
        ("", "1: expected"),
        ("#version: 0.2\nĠ t\nĠt h", "1: has merges of byte-level"),
    ],
)
def test_other_text_raises_value_error_with_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Codes(text)


@pytest.mark.parametrize("version", ["0.2", "0.1"])
def test_segmentation_equals_that_of_subword_nmt(version: str) -> None:
    apply_bpe = pytest.importorskip("subword_nmt.apply_bpe")
    generator = random.Random(1)

    def draw(lengths: range) -> str:
        return "".join(generator.choices("abc", k=generator.choice(lengths)))

    merges: list[tuple[str, str]] = []
    symbols = ["a", "b", "c", "a</w>", "b</w>", "c</w>", *(["</w>"] if version == "0.1" else [])]
    while len(merges) < 60:
        left = generator.choice([one for one in symbols if not one.endswith("</w>")])
        right = generator.choice(symbols)
        if (left, right) not in merges and left + right not in symbols:
            merges.append((left, right))
            symbols.append(left + right)
    text = "".join(f"{left} {right}\n" for left, right in merges)
    text = f"#version: {version}\n{text}" if version == "0.2" else text
    known = {one.removesuffix("</w>") + end for one in symbols for end in ("", "@@")}
    known = (
        set(generator.sample(sorted(known), len(known) // 2)) | set("abc") | {"a@@", "b@@", "c@@"}
    )
    plain = apply_bpe.BPE(io.StringIO(text))
    limited = apply_bpe.BPE(io.StringIO(text), vocab=known)
    codes = Codes(text)
    for _ in range(300):
        word = draw(range(1, 12))
        assert codes.split(word) == plain.segment_tokens([word])
        if version == "0.2":  # it splits "</w>" from words in version 0.1
            assert codes.split(word, known) == limited.segment_tokens([word])
