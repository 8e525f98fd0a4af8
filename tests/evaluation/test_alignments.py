from pathlib import Path

import pytest
import torch

from nmt.errors import UserError
from nmt.evaluation.alignments import (
    alignment_error_rate,
    parse_pharaoh,
    piece_alignment,
    read_pharaoh,
    to_pharaoh,
    word_alignment,
    word_text,
    word_texts,
    word_weights,
    words,
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
    assert words(pieces) == expected


def test_words_have_the_text_that_stood_between_spaces() -> None:
    pieces = ["▁", "a", "▁", "b", "c", "▁", "<0xEA>", "<0xB0>", "<0x80>", "나", "▁."]
    assert word_texts(pieces, end=True) == [*"a bc 가나 .".split(), "</s>"]
    assert word_text(["▁a", "b", "▁c"], [2]) == "c"
    assert word_text(["▁", "<0xEA>"], [0, 1]) == "\N{REPLACEMENT CHARACTER}"


def test_pharaoh_is_written_and_read_with_sure_and_possible_links() -> None:
    assert to_pharaoh([(0, 0), (2, 1), (10, 3)]) == "0-0 2-1 10-3"
    links = parse_pharaoh(" 0-0 3p4  3?5 12-7\n")
    assert links.sure == {(0, 0), (12, 7)}
    assert links.possible == {(0, 0), (3, 4), (3, 5), (12, 7)}
    assert parse_pharaoh("").possible == set()


@pytest.mark.parametrize("word", ["1", "1-", "-1", "a-b", "1-2-3", "1:2", "1--2", "²-1"])
def test_what_is_no_link_is_told_with_its_line(tmp_path: Path, word: str) -> None:
    path = tmp_path / "gold"
    path.write_text(f"0-0\n\n1-1 {word} 2-2\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_pharaoh(path)
    assert str(caught.value).startswith(f"{path}:3: {word!r} is no link; ")


def test_a_pharaoh_file_keeps_its_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "gold"
    path.write_text("0-0\n\n1p1\n", encoding="utf-8")
    assert [len(links.possible) for links in read_pharaoh(path)] == [1, 0, 1]
    path.write_text("", encoding="utf-8")
    assert read_pharaoh(path) == []
    with pytest.raises(UserError, match="absent: cannot be read"):
        read_pharaoh(tmp_path / "absent")


def test_the_error_rate_is_that_worked_by_hand() -> None:
    # |A| = 3 + 1, |S| = 2 + 1, |A and S| = 1 + 1, |A and P| = 2 + 1: 1 - 5/7.
    predicted = [{(0, 0), (1, 1), (2, 2)}, {(0, 1)}]
    sure = [{(0, 0), (1, 2)}, {(0, 1)}]
    possible = [{(0, 0), (1, 2), (1, 1)}, {(0, 1), (1, 0)}]
    result = alignment_error_rate(predicted, sure, possible)
    assert result == pytest.approx((3 / 4, 2 / 3, 2 / 7))
    only_possible = [{(1, 1)}, {(1, 0)}]  # P includes S whether the file repeats it or not
    assert alignment_error_rate(predicted, sure, only_possible) == result


def test_sure_links_alone_are_perfect_and_none_at_all_is_an_error_rate_of_1() -> None:
    sure, possible = [{(0, 0)}], [{(0, 0), (1, 1)}]
    assert alignment_error_rate(sure, sure, possible) == (1, 1, 0)
    assert alignment_error_rate(possible, sure, possible) == (1, 1, 0)
    assert alignment_error_rate([set()], sure, possible) == (0, 0, 1)


def test_corpora_that_do_not_match_are_refused() -> None:
    with pytest.raises(UserError, match="1 lines of alignments but 2 of gold"):
        alignment_error_rate([set()], [set(), set()], [set(), set()])
    with pytest.raises(UserError, match="no sure link"):
        alignment_error_rate([set()], [set()], [{(0, 0)}])
