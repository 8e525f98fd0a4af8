"""Drawing the lines that a vocabulary is learned from."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.data.learning import draw_lines


def lines(count: int) -> Iterator[str]:
    return map(str, range(count))


@given(total=st.integers(0, 300), count=st.integers(1, 300))
def test_what_is_drawn_are_different_lines_of_the_text(total: int, count: int) -> None:
    drawn, counted = draw_lines(lines(total), count)
    assert counted == total
    assert len(drawn) == len(set(drawn)) == min(total, count)
    assert set(drawn) <= set(lines(total))
    assert draw_lines(lines(total), count) == (drawn, total)


@pytest.mark.parametrize("count", [100, 101, 10**9])
def test_a_text_that_is_short_enough_comes_whole_and_in_order(count: int) -> None:
    assert draw_lines(lines(100), count) == (list(lines(100)), 100)


def test_every_part_of_a_text_has_its_share() -> None:
    drawn, _ = draw_lines(lines(100_000), 4_000)
    shares = [sum(int(line) // 10_000 == tenth for line in drawn) for tenth in range(10)]
    # 400 each, with a standard deviation of 19.
    assert all(320 < share < 480 for share in shares), shares
    assert min(shares) < max(shares)


def test_a_single_line_of_many_can_be_any() -> None:
    assert len({draw_lines(lines(total), 1)[0][0] for total in range(1, 200)}) > 3
