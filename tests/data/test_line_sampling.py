"""Sampling of lines."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.data.line_sampling import sample_lines


def lines(count: int) -> Iterator[str]:
    return map(str, range(count))


@given(total=st.integers(0, 300), count=st.integers(1, 300))
def test_sample_has_distinct_lines_and_counts_all(total: int, count: int) -> None:
    sample, counted = sample_lines(lines(total), count)
    assert counted == total
    assert len(sample) == len(set(sample)) == min(total, count)
    assert set(sample) <= set(lines(total))
    assert sample_lines(lines(total), count) == (sample, total)


@pytest.mark.parametrize("count", [100, 101, 10**9])
def test_short_text_is_returned_completely_in_order(count: int) -> None:
    assert sample_lines(lines(100), count) == (list(lines(100)), 100)


def test_sample_is_uniform_over_the_text() -> None:
    sample, _ = sample_lines(lines(100_000), 4_000)
    counts = [sum(int(line) // 10_000 == tenth for line in sample) for tenth in range(10)]
    # 400 each, with a standard deviation of 19.
    assert all(320 < count < 480 for count in counts), counts
    assert min(counts) < max(counts)


def test_sample_of_one_line_varies_with_the_text() -> None:
    assert len({sample_lines(lines(total), 1)[0][0] for total in range(1, 200)}) > 3
