import json
from collections.abc import Callable

import pytest

from harness.results import Row, interleaved, number, ratios, spread, table, unmeasured


def test_contenders_take_turns_in_alternating_order() -> None:
    order: list[tuple[str, int]] = []

    def run(name: str) -> Callable[[int], str]:
        def repetition(number: int) -> str:
            order.append((name, number))
            return f"{name}{number}"

        return repetition

    found = interleaved({"a": run("a"), "b": run("b")}, 3)
    assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert found == {"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"]}


def test_ratios_compare_runs_not_medians() -> None:
    # The machine slows down tenfold in the second run, for both.
    assert ratios([200.0, 20.0, 220.0], [100.0, 10.0, 100.0]) == pytest.approx([2.0, 2.0, 2.2])


def test_spread_shows_median_minimum_and_maximum() -> None:
    assert spread([3.0, 1.0, 20.0]) == "3 (1–20)"
    assert spread([2.0]) == "2"
    assert spread([]) == "-"


def test_numbers_have_three_significant_digits() -> None:
    assert [number(value) for value in (1234.5, 12.345, 0.012345)] == ["1,234", "12.3", "0.0123"]


def row() -> Row:
    return Row(
        "training",
        "eole fp32",
        "tokens/s",
        [100.0, 110.0, 50.0],
        {"dtype": "fp32", "threads": 2},
        {"eole": "0.6.4", "torch": "2.13.0"},
        baseline="nmt fp32",
        ratios=[2.0, 3.0, 2.5],
        note="Luong's order",
        share=0.664,
    )


def test_table_names_the_baseline_and_the_version_of_a_peer() -> None:
    header, _, first, second = table([row(), unmeasured("GPU training", "no GPU")]).splitlines()
    cells = [cell.strip() for cell in first.split("|")[1:-1]]
    assert cells == [
        "training",
        "eole fp32 (eole 0.6.4)",
        "100 (50–110)",
        "tokens/s",
        "66%",
        "nmt fp32: 2.5 (2–3) x",
        "dtype fp32, threads 2",
        "Luong's order",
    ]
    assert "not measured: no GPU" in second
    assert "-" in [cell.strip() for cell in second.split("|")]
    assert header.count("|") == first.count("|")


def test_json_contains_every_value_and_the_medians() -> None:
    tree = json.loads(json.dumps(row().to_dict()))
    assert tree["values"] == [100.0, 110.0, 50.0]
    assert (tree["median"], tree["median_ratio"]) == (100.0, 2.5)
    assert tree["versions"]["eole"] == "0.6.4"
    assert "median" not in unmeasured("a", "b").to_dict()
