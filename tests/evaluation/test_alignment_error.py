"""Alignment error rate and Pharaoh files."""

from pathlib import Path

import pytest

from nmt.data.pharaoh import parse_pharaoh, read_pharaoh
from nmt.errors import UserError
from nmt.evaluation.alignment_error import alignment_error_rate


def test_pharaoh_line_has_sure_and_possible_links() -> None:
    links = parse_pharaoh(" 0-0 3p4  3?5 12-7\n")
    assert links.sure == {(0, 0), (12, 7)}
    assert links.possible == {(0, 0), (3, 4), (3, 5), (12, 7)}
    assert parse_pharaoh("").possible == set()


@pytest.mark.parametrize("word", ["1", "1-", "-1", "a-b", "1-2-3", "1:2", "1--2", "²-1"])
def test_malformed_link_error_names_file_and_line(tmp_path: Path, word: str) -> None:
    path = tmp_path / "gold"
    path.write_text(f"0-0\n\n1-1 {word} 2-2\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_pharaoh(path)
    assert str(caught.value).startswith(f"{path}:3: {word!r} is not a link; ")


def test_pharaoh_file_keeps_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "gold"
    path.write_text("0-0\n\n1p1\n", encoding="utf-8")
    assert [len(links.possible) for links in read_pharaoh(path)] == [1, 0, 1]
    path.write_text("", encoding="utf-8")
    assert read_pharaoh(path) == []
    with pytest.raises(UserError, match="absent: cannot read"):
        read_pharaoh(tmp_path / "absent")


def test_error_rate_matches_manual_calculation() -> None:
    # |A| = 3 + 1, |S| = 2 + 1, |A and S| = 1 + 1, |A and P| = 2 + 1: 1 - 5/7.
    predicted = [{(0, 0), (1, 1), (2, 2)}, {(0, 1)}]
    sure = [{(0, 0), (1, 2)}, {(0, 1)}]
    possible = [{(0, 0), (1, 2), (1, 1)}, {(0, 1), (1, 0)}]
    result = alignment_error_rate(predicted, sure, possible)
    assert result == pytest.approx((3 / 4, 2 / 3, 2 / 7))
    only_possible = [{(1, 1)}, {(1, 0)}]  # P includes S even if the file does not repeat it
    assert alignment_error_rate(predicted, sure, only_possible) == result


def test_error_rate_of_perfect_and_empty_predictions_is_0_and_1() -> None:
    sure, possible = [{(0, 0)}], [{(0, 0), (1, 1)}]
    assert alignment_error_rate(sure, sure, possible) == (1, 1, 0)
    assert alignment_error_rate(possible, sure, possible) == (1, 1, 0)
    assert alignment_error_rate([set()], sure, possible) == (0, 0, 1)


def test_unequal_corpora_and_missing_sure_links_raise_user_error() -> None:
    with pytest.raises(UserError, match="1 lines of alignments but 2 of gold alignments"):
        alignment_error_rate([set()], [set(), set()], [set(), set()])
    with pytest.raises(UserError, match="no sure link"):
        alignment_error_rate([set()], [set()], [{(0, 0)}])
