from typing import Any

import pytest
from compare import seconds_per_epoch, systems, table


def report(step: int, minutes: float) -> dict[str, float]:
    return {"step": step, "minutes": minutes}


def test_seconds_per_epoch_exclude_validation() -> None:
    # 0.1 minutes for 50 updates; the validation after update 120 takes 3 additional minutes.
    trained = [report(50, 0.5), report(100, 0.6), report(150, 3.7), report(200, 3.8)]
    validated = [{"step": 120.0}, {"step": 240.0}]
    assert seconds_per_epoch(trained, validated) == pytest.approx(6.0 / 50 * 120)


def test_validation_at_the_step_of_a_report_counts_as_after_it() -> None:
    trained = [report(50, 0.1), report(100, 0.2), report(150, 9.0), report(160, 9.02)]
    assert seconds_per_epoch(trained, [{"step": 100.0}]) == pytest.approx(12.0)


def test_seconds_per_epoch_ignore_one_slow_interval() -> None:
    trained = [report(50, 0.0), report(100, 0.1), report(150, 5.0), report(200, 5.1)]
    assert seconds_per_epoch(trained, [{"step": 200.0}]) == pytest.approx(24.0)


def test_systems_are_named_after_their_files() -> None:
    found = systems()
    assert found["attention"].name == "date_format.yaml"
    assert all(
        file.name == f"date_format_{n}.yaml" for n, file in found.items() if n != "attention"
    )


def results() -> dict[str, Any]:
    attention = {"parameters": 1234567, "all": [0.5, 99.0], "unseen": [0.25, 98.0], "seconds": 20.4}
    other = {"parameters": 7, "all": [1.0], "unseen": [2.0], "seconds": 3.0}
    return {
        "pairs": {"all": 5000, "unseen": 3595},
        "seed": 0,
        "threads": 1,
        "systems": {"attention": attention, "other": other},
    }


def test_table_has_rows_for_all_pairs_unseen_pairs_and_the_book() -> None:
    lines = [[cell.strip() for cell in line.split("|")] for line in table(results()).splitlines()]
    header, _, *rows = lines[2:]
    assert header[1:-1] == ["system", "test pairs", "1", "2", "parameters", "s per epoch"]
    assert [row[1:-1] for row in rows] == [
        ["attention", "5,000", "0.50", "99.00", "1,234,567", "20"],
        ["", "3,595 unseen", "0.25", "98.00", "", ""],
        ["", "5,000, book", "0.02", "88.82", "", ""],
        ["other", "5,000", "1.00", "-", "7", "3"],
        ["", "3,595 unseen", "2.00", "-", "", ""],
    ]
