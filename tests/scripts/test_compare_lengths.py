from compare_lengths import Bucket, make_buckets, table
from hypothesis import given
from hypothesis import strategies as st
from join_lines import join, join_up_to

PAIRS = [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"), ("e", "E")]


def test_rows_are_in_the_bucket_of_their_length() -> None:
    assert make_buckets([5, 1, 6, 10, 11], 5, 1) == [
        Bucket(1, 5, [0, 1]),
        Bucket(6, 10, [2, 3]),
        Bucket(11, 15, [4]),
    ]


def test_small_bucket_is_merged_with_the_next_and_the_last_with_the_previous() -> None:
    lengths = [3, 8, 9, 12, 14, 18]
    assert make_buckets(lengths, 5, 2) == [Bucket(1, 10, [0, 1, 2]), Bucket(11, 20, [3, 4, 5])]


def test_few_lines_form_one_bucket() -> None:
    assert make_buckets([3, 18], 5, 50) == [Bucket(1, 20, [0, 1])]


@given(st.lists(st.integers(1, 40), min_size=1), st.integers(1, 9), st.integers(1, 20))
def test_every_line_is_in_exactly_one_bucket_that_contains_its_length(
    lengths: list[int], width: int, least: int
) -> None:
    buckets = make_buckets(lengths, width, least)
    assert sorted(row for bucket in buckets for row in bucket.rows) == list(range(len(lengths)))
    assert all(b.first <= lengths[row] <= b.last for b in buckets for row in b.rows)
    assert [bucket.first for bucket in buckets] == [1, *(b.last + 1 for b in buckets[:-1])]
    assert len(buckets) == 1 or all(len(bucket.rows) >= least for bucket in buckets)


def test_join_leaves_out_the_remainder() -> None:
    assert join(PAIRS, 2) == [("a b", "A B"), ("c d", "C D")]
    assert join_up_to(PAIRS, 3) == [*join(PAIRS, 2), ("a b c", "A B C")]
    assert join_up_to(PAIRS, 1) == []


def test_last_row_of_the_table_is_the_unjoined_text() -> None:
    measured = {
        "join": 2,
        "signature": "nrefs:1",
        "buckets": [{"first": 1, "last": 5, "lines": 1200}, {"first": 6, "last": 10, "lines": 60}],
        "lines": 1000,
        "bleu": {"plain": [30.0, 10.0, 25.5], "attention": [31.0, 30.0, 30.25]},
    }
    assert table(measured).splitlines() == [
        "BLEU by words of the source line, with up to 2 lines joined (nrefs:1):",
        "",
        "| words              | lines | plain | attention |",
        "| ------------------ | ----- | ----- | --------- |",
        "| 1-5                | 1,200 | 30.00 | 31.00     |",
        "| 6-10               | 60    | 10.00 | 30.00     |",
        "| unjoined test text | 1,000 | 25.50 | 30.25     |",
    ]
