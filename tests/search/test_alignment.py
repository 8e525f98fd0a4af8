import pytest
import torch

from nmt.search.alignment import (
    piece_alignment,
    to_pharaoh,
    word_alignment,
    word_spans,
    word_text,
    word_texts,
    word_weights,
)

# Source pieces a b1 b2 </s>; target pieces X1 X2 Y </s>.
SOURCE = ["▁a", "▁b", "b"]
TARGET = ["▁X", "x", "▁Y"]
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
    assert word_alignment(torch.ones(1, 1), [], []) == []
    assert word_alignment(torch.ones(3, 1), [], ["▁a", "▁b"]) == []
    assert piece_alignment(torch.ones(1, 3), 2, 0) == []
    assert word_weights(torch.zeros(0, 3), ["▁a", "▁b"], []).shape == (0, 3)


def test_weights_of_another_shape_fail_an_assertion() -> None:
    with pytest.raises(AssertionError, match="4 x 4 weights"):
        piece_alignment(WEIGHTS, 2, 3)


def test_half_precision_weights_are_accepted() -> None:
    assert piece_alignment(WEIGHTS.bfloat16(), 3, 3)[2] == (2, 2)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], []),
        (["▁a", "b", "▁c"], [[0, 1], [2]]),
        (["a", "b", "▁c"], [[0, 1], [2]]),
        (["▁", "가", "나", "▁", "다"], [[0, 1, 2], [3, 4]]),
        (["▁a", "▁", "▁b"], [[0], [1, 2]]),
        (["▁", "▁", "b"], [[0, 1, 2]]),
        (["▁a", "▁"], [[0, 1]]),
        (["▁"], [[0]]),
    ],
)
def test_words_start_at_pieces_with_a_space(pieces: list[str], expected: list[list[int]]) -> None:
    assert word_spans(pieces) == expected


def test_word_text_equals_the_text_between_spaces() -> None:
    pieces = ["▁", "a", "▁", "b", "c", "▁", "<0xEA>", "<0xB0>", "<0x80>", "나", "▁."]
    assert word_texts(pieces, end=True) == ["a", "bc", "가나", ".", "</s>"]
    assert word_text(["▁a", "b", "▁c"], [2]) == "c"
    assert word_text(["▁", "<0xEA>"], [0, 1]) == "\N{REPLACEMENT CHARACTER}"


def test_links_are_formatted_as_pharaoh_in_their_order() -> None:
    assert to_pharaoh([(0, 0), (2, 1), (10, 3)]) == "0-0 2-1 10-3"
    assert to_pharaoh([(1, 0), (0, 0)]) == "1-0 0-0"
    assert to_pharaoh([]) == ""
