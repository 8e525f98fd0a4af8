"""Tables in Markdown, LaTeX and CSV, and the buckets of a test text."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.comparison.buckets import MIN_LINES, by_frequency, by_length, divide
from nmt.comparison.figures import plot_attention, plot_buckets, plot_scores
from nmt.comparison.measurement import Matrix, Measurement, TestSet
from nmt.comparison.plan import System
from nmt.comparison.results import Results, evaluate, find_baseline
from nmt.comparison.tables import to_csv, to_latex, to_markdown
from nmt.errors import UserError
from nmt.storage.run_dir import RunDir

REFERENCES = [f"word {'and more ' * (n % 5)}{n}" for n in range(130)]
TEST = TestSet([one.upper() for one in REFERENCES], [REFERENCES], "my_test.en")
WRONG = ["nothing" if n % 2 else line for n, line in enumerate(REFERENCES)]
MATRIX = Matrix(["a", "b"], ["c"], [[0.25, 0.75]])


@pytest.fixture(scope="module")
def results(trained: Path) -> Results:
    """Two equal systems with two seeds, and a worse one with one seed and without attention."""
    experiment = RunDir(trained).experiment()

    def measured(seed: int, texts: list[str], matrix: Matrix | None) -> Measurement:
        error = None if matrix is None else 40 + 0.25 * seed
        return Measurement(Path("r"), seed, texts, 1234567, 2.5, 9, 4000.4, 0.5, matrix, error)

    first, tie, worse = (System(name, experiment, ()) for name in ("a_1 & b", "tie", "worse"))
    runs = [
        *((first, measured(seed, REFERENCES, MATRIX)) for seed in (1, 2)),
        *((tie, measured(seed, REFERENCES, MATRIX)) for seed in (1, 2)),
        (worse, measured(1, WRONG, None)),
    ]
    return evaluate(runs, TEST, ["exact"], baseline="a_1 & b")


def test_markdown_shows_ties_as_equally_bold_and_stars_significant_differences(
    results: Results,
) -> None:
    lines = to_markdown(results).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[:5]]
    assert rows[0][:3] == ["system", "exact", "AER"]
    # The alignment error rate is the mean of 40.25 and 40.5.
    assert rows[2] == ["a_1 & b", "**100.00** ± 0.00", "40.38", "1,234,567", "2.5", "4,000", "260"]
    assert rows[3][:2] == ["tie", "**100.00** ± 0.00"]
    assert rows[4][:3] == ["worse", "50.00*", "-"]
    assert "130 sentences of my_test.en. Mean ± sample standard deviation over 1 to 2" in lines[6]


def test_latex_escapes_names(results: Results) -> None:
    text = to_latex(results)
    assert r"a\_1 \& b & \textbf{100.00} $\pm$ 0.00 & 40.38 & 1,234,567" in text
    assert r"\caption{130 sentences of my\_test.en." in text
    assert "p $<$ 0.05" in text


def test_csv_and_json_have_unrounded_values(results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert [row["exact_mean"] for row in rows] == ["100.0", "100.0", "50.0"]
    assert [row["seeds"] for row in rows] == ["2", "2", "1"]
    assert rows[0]["exact_p_value"] == "" and rows[2]["exact_deviation"] == ""
    assert float(rows[1]["exact_p_value"]) == 1.0
    # Of two comparisons, the smaller p-value is doubled: 2 / 1001.
    assert float(rows[2]["exact_p_value"]) == pytest.approx(2 / 1001)
    assert results.to_dict()["systems"][2]["scores"]["exact"]["mean"] == 50.0


def test_baseline_is_the_first_system_unless_named(results: Results) -> None:
    systems = [result.system for result in results.systems]
    assert find_baseline(systems, None) == "a_1 & b"
    assert find_baseline(systems[:1], None) is None
    with pytest.raises(UserError, match="no system is named 'tye'; did you mean 'tie'"):
        find_baseline(systems, "tye")


def test_scores_by_length_are_those_of_the_lines_of_each_length(results: Results) -> None:
    buckets = by_length(results)
    assert buckets is not None
    # Lines have 2, 4, 6, 8 or 10 words, 26 each; buckets of fewer than 50 lines are merged.
    assert buckets.labels == ["1-4", "5-10"]
    assert buckets.sizes == [52, 78]
    assert buckets.scores["worse"] == pytest.approx([50.0, 50.0])


def test_f_scores_by_frequency_count_shared_words(results: Results) -> None:
    buckets = by_frequency(results, ["word and more"] * 5 + ["0 1 2"])
    # "0", "1" and "2" occur once; the other numbers never, the three words five times.
    assert buckets.labels == ["0", "1", "5-9"]
    assert buckets.sizes == [127, 3, sum(1 + 2 * (n % 5) for n in range(130))]
    # The worse system has the even numbers, and nothing wrong but the word "nothing", 65 times.
    assert buckets.scores["worse"][0] == pytest.approx(200 * 63 / (63 + 65 + 127))
    assert buckets.scores["worse"][1] == pytest.approx(200 * 2 / (2 + 3))
    assert buckets.scores["tie"] == [100.0] * 3


@given(st.lists(st.integers(0, 90), min_size=1, max_size=300))
def test_every_line_is_in_exactly_one_bucket_that_contains_its_length(lengths: list[int]) -> None:
    buckets = divide(lengths)
    assert sorted(row for rows in buckets.values() for row in rows) == list(range(len(lengths)))
    previous = 0
    for label, rows in buckets.items():
        first, _, last = label.partition("-")
        assert int(first) == previous + 1
        previous = int(last or first)
        assert all(int(first) <= max(1, lengths[row]) <= previous for row in rows)
    assert len(buckets) == 1 or min(map(len, buckets.values())) >= MIN_LINES


def test_scores_have_a_row_per_system_so_that_ties_hide_nothing(results: Results) -> None:
    (panel,) = plot_scores(results).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["a_1 & b", "tie", "worse"]

    def points(marker: str) -> list[tuple[float, float]]:
        arrays = [np.asarray(one.get_xydata()) for one in panel.lines if one.get_marker() == marker]
        return [(float(x), float(y)) for array in arrays for x, y in array]

    assert len(set(points("o"))) == 5
    assert points("D") == [(100.0, 0.0), (100.0, 1.0), (50.0, 2.0)]


def test_attention_is_drawn_for_the_systems_that_have_it(results: Results) -> None:
    figure = plot_attention(results)
    assert figure is not None
    assert [panel.get_title() for panel in figure.axes if panel.images] == ["a_1 & b", "tie"]
    assert np.asarray(figure.axes[0].images[0].get_array()).tolist() == [[0.25, 0.75]]


def test_lines_are_named_by_a_legend_and_not_by_labels_next_to_them(results: Results) -> None:
    buckets = by_length(results)
    assert buckets is not None
    figure = plot_buckets(buckets)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a_1 & b", "tie", "worse"]
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert len(set(markers)) == 3
    assert not figure.axes[0].texts
