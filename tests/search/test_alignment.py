from io import BytesIO
from typing import Any

import pytest
import sentencepiece as spm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.data.segmented_text import SegmentedText
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary
from nmt.search.alignment import (
    piece_alignment,
    to_pharaoh,
    word_alignment,
    word_weights,
)

# Source pieces a b1 b2 </s>; target pieces X1 X2 Y </s>.
SOURCE = SegmentedText("a bb", [(0, 1), (1, 3), (3, 4)])
TARGET = SegmentedText("Xx Y", [(0, 1), (1, 2), (2, 4)])
EMPTY = SegmentedText("", [])
WEIGHTS = torch.tensor(
    [
        [0.4, 0.3, 0.2, 0.1],  # a is larger than each b, both b together are larger than a
        [0.2, 0.1, 0.2, 0.5],  # </s> is largest; then a and the second b are equal
        [0.1, 0.2, 0.6, 0.1],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def test_piece_links_to_the_first_of_the_largest_weights() -> None:
    assert piece_alignment(WEIGHTS, 3, 3) == [(0, 0), (0, 1), (2, 2)]


def test_word_weights_sum_over_source_and_average_over_target_pieces() -> None:
    # X attends to a with (0.4 + 0.2) / 2 = 0.3 and b with (0.5 + 0.3) / 2 = 0.4.
    expected = torch.tensor([[0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(word_weights(WEIGHTS, SOURCE, TARGET), expected)
    assert word_alignment(WEIGHTS, SOURCE, TARGET) == [(1, 0), (1, 1)]


def test_unfinished_hypothesis_keeps_its_last_piece() -> None:
    assert piece_alignment(WEIGHTS[:3], 3, 3) == piece_alignment(WEIGHTS, 3, 3)
    assert word_alignment(WEIGHTS[:3], SOURCE, TARGET) == [(1, 0), (1, 1)]
    assert word_weights(WEIGHTS[:3], SOURCE, TARGET).shape == (2, 3)


def test_piece_with_all_weight_on_the_end_has_no_link() -> None:
    assert piece_alignment(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), 2, 2) == [(1, 0)]


def test_empty_side_has_no_links() -> None:
    two = SegmentedText("a b", [(0, 1), (1, 3)])
    assert word_alignment(torch.ones(1, 1), EMPTY, EMPTY) == []
    assert word_alignment(torch.ones(3, 1), EMPTY, two) == []
    assert piece_alignment(torch.ones(1, 3), 2, 0) == []
    assert word_weights(torch.zeros(0, 3), two, EMPTY).shape == (0, 3)


def test_weights_of_another_shape_fail_an_assertion() -> None:
    with pytest.raises(AssertionError, match="4 x 4 weights"):
        piece_alignment(WEIGHTS, 2, 3)


def test_half_precision_weights_are_accepted() -> None:
    assert piece_alignment(WEIGHTS.bfloat16(), 3, 3)[2] == (2, 2)


def test_weight_of_a_piece_over_several_words_is_divided() -> None:
    source = SegmentedText("a b c", [(0, 3), (3, 5)])
    target = SegmentedText("x", [(0, 1)])
    weights = word_weights(torch.tensor([[0.75, 0.25]]), source, target)
    assert weights.tolist() == [[0.375, 0.375, 0.25]]


def test_word_without_pieces_has_no_link() -> None:
    source = SegmentedText("a \u00ad b", [(0, 1), (3, 5)])
    assert source.pieces_of_words == [[0], [], [1]]
    assert word_alignment(torch.tensor([[0.1, 0.9]] * 2), source, source) == [(2, 0), (2, 2)]


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("", [], []),
        ("ab c", [(0, 1), (1, 2), (2, 4)], [[0, 1], [2]]),
        ("a b", [(0, 0), (0, 1), (1, 2), (2, 3)], [[0, 1], [2, 3]]),  # lone spaces before words
        ("a ", [(0, 1), (1, 2)], [[0, 1]]),
        ("½ b", [(0, 0), (0, 0), (0, 1), (1, 3)], [[0, 1, 2], [3]]),
        ("a\u00a0b", [(0, 1), (1, 3)], [[0], [1]]),  # white space of str.split
        ("a\u200cb c", [(0, 1), (1, 3), (3, 5)], [[0, 1], [2]]),  # no white space
        (" ", [(0, 1)], []),
    ],
)
def test_pieces_belong_to_the_words_of_the_raw_text(
    text: str, spans: list[tuple[int, int]], expected: list[list[int]]
) -> None:
    assert SegmentedText(text, spans).pieces_of_words == expected


LINES = ["Ein Mann liest ein Buch.", "½ km² für 5 €", "می‌خواهم کتاب بخوانم", "가나 다라"] * 9
# Every kind of SentencePiece model that places spaces in another way.
MODELS: dict[str, dict[str, Any]] = {
    "default": {},
    "bytes": {"vocab_size": 320, "byte_fallback": True},
    "identity": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "characters": {"model_type": "char"},
    "suffix": {"treat_whitespace_as_suffix": True},
    "phrases": {"split_by_whitespace": False, "model_type": "bpe", "vocab_size": 90},
    "no prefix": {"add_dummy_prefix": False},
}


def _vocabulary(options: dict[str, Any]) -> Vocabulary:
    model = BytesIO()
    options = {"vocab_size": 64, "hard_vocab_limit": False, "minloglevel": 3, **options}
    spm.SentencePieceTrainer.train(sentence_iterator=iter(LINES), model_writer=model, **options)
    return SentencePieceVocabulary(model.getvalue())


@pytest.fixture(scope="module")
def vocabularies() -> list[Vocabulary]:
    """Train one vocabulary per kind of model."""
    return [_vocabulary(options) for options in MODELS.values()]


ODD = "aein \t\u00a0\u3000\u200b\u200c\u200d\u00ad\u2028\u0085\x1c\x00▁½²´ﬁ№…™가ᄀ́ü😀می"


@settings(deadline=None, max_examples=150)
@given(text=st.text(st.sampled_from(ODD) | st.characters(codec="utf-8"), max_size=30))
def test_pieces_cover_the_characters_of_any_text(vocabularies: list[Vocabulary], text: str) -> None:
    word_of_character: list[int | None] = []  # by str.split alone
    rest = text
    for number, word in enumerate(text.split()):
        word_of_character += [None] * rest.index(word) + [number] * len(word)
        rest = rest[rest.index(word) + len(word) :]
    word_of_character += [None] * len(rest)
    for vocabulary in vocabularies:
        ids = vocabulary.encode(text)
        segmented = SegmentedText(text, vocabulary.spans(text))
        assert segmented.pieces == len(ids)
        for words, (start, end) in zip(segmented.words_of_pieces, segmented.spans, strict=True):
            assert 0 <= start <= end <= len(text)
            covered = {word for word in word_of_character[start:end] if word is not None}
            assert set(words) == covered or (not covered and len(words) <= 1)
            assert all(0 <= word < len(text.split()) for word in words)
        decoded, spans = vocabulary.decode_with_spans(ids)
        assert decoded == vocabulary.decode(ids)
        assert "".join(decoded[start:end] for start, end in spans) == decoded
        links = word_alignment(
            torch.rand(len(ids), len(ids) + 1), segmented, SegmentedText(decoded, spans)
        )
        assert all(s < len(text.split()) and t < len(decoded.split()) for s, t in links)


def test_tokens_that_a_model_lacks_cover_no_character() -> None:
    vocabulary = _vocabulary({"bos_id": -1, "eos_id": -1})
    ids = [vocabulary.bos, *vocabulary.encode("Ein"), vocabulary.eos]
    text, spans = vocabulary.decode_with_spans(ids)
    assert (text, len(spans), spans[0], spans[-1]) == ("Ein", len(ids), (0, 0), (3, 3))


def test_links_are_formatted_as_pharaoh_in_their_order() -> None:
    assert to_pharaoh([(0, 0), (2, 1), (10, 3)]) == "0-0 2-1 10-3"
    assert to_pharaoh([(1, 0), (0, 0)]) == "1-0 0-0"
    assert to_pharaoh([]) == ""
