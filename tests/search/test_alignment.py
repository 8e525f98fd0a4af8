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

# Source pieces a b1 b2 and the end mark; target pieces X1 X2 Y and the end mark.
SOURCE = ["▁a", "▁b", "b"]
TARGET = ["▁X", "x", "▁Y"]
WEIGHTS = torch.tensor(
    [
        [0.4, 0.3, 0.2, 0.1],  # the piece a alone outweighs each b, both b together outweigh a
        [0.2, 0.1, 0.2, 0.5],  # the end mark is greatest; of the real ones a and the second b
        [0.1, 0.2, 0.6, 0.1],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def test_pieces_link_to_the_greatest_real_weight_and_the_first_of_equals() -> None:
    assert piece_alignment(WEIGHTS, 3, 3) == [(0, 0), (0, 1), (2, 2)]


def test_words_sum_their_source_pieces_and_average_their_target_pieces() -> None:
    # X reads a with (0.4 + 0.2) / 2 = 0.3 and b with (0.5 + 0.3) / 2 = 0.4.
    expected = torch.tensor([[0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(word_weights(WEIGHTS, SOURCE, TARGET), expected)
    assert word_alignment(WEIGHTS, SOURCE, TARGET) == [(1, 0), (1, 1)]


def test_a_hypothesis_cut_off_before_its_end_mark_keeps_its_last_piece() -> None:
    assert piece_alignment(WEIGHTS[:3], 3, 3) == piece_alignment(WEIGHTS, 3, 3)
    assert word_alignment(WEIGHTS[:3], SOURCE, TARGET) == [(1, 0), (1, 1)]
    assert word_weights(WEIGHTS[:3], SOURCE, TARGET).shape == (2, 3)


def test_a_piece_that_reads_the_end_mark_alone_has_no_link() -> None:
    assert piece_alignment(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), 2, 2) == [(1, 0)]


def test_nothing_links_where_a_side_is_empty() -> None:
    assert word_alignment(torch.ones(1, 1), [], []) == []
    assert word_alignment(torch.ones(3, 1), [], ["▁a", "▁b"]) == []
    assert piece_alignment(torch.ones(1, 3), 2, 0) == []
    assert word_weights(torch.zeros(0, 3), ["▁a", "▁b"], []).shape == (0, 3)


def test_weights_that_fit_no_pieces_are_our_fault() -> None:
    with pytest.raises(AssertionError, match="4 x 4 weights"):
        piece_alignment(WEIGHTS, 2, 3)


def test_half_precision_weights_are_read() -> None:
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
def test_words_begin_at_their_mark(pieces: list[str], expected: list[list[int]]) -> None:
    assert word_spans(pieces) == expected


def test_words_have_the_text_that_stood_between_spaces() -> None:
    pieces = ["▁", "a", "▁", "b", "c", "▁", "<0xEA>", "<0xB0>", "<0x80>", "나", "▁."]
    assert word_texts(pieces, end=True) == ["a", "bc", "가나", ".", "</s>"]
    assert word_text(["▁a", "b", "▁c"], [2]) == "c"
    assert word_text(["▁", "<0xEA>"], [0, 1]) == "\N{REPLACEMENT CHARACTER}"


def test_links_are_written_as_a_pharaoh_line_in_their_order() -> None:
    assert to_pharaoh([(0, 0), (2, 1), (10, 3)]) == "0-0 2-1 10-3"
    assert to_pharaoh([(1, 0), (0, 0)]) == "1-0 0-0"
    assert to_pharaoh([]) == ""
