"""The benchmark command, with measures that take no time."""

import json
from collections.abc import Iterator
from pathlib import Path

import benchmark
import pytest

from harness.results import Row, unmeasured
from measures import MEASURES, Bench
from nmt.errors import UserError
from tests.commands import PHRASES


def failing(bench: Bench) -> Iterator[Row]:
    yield Row("first", "nmt fp32", "s", [1.0], {})
    raise UserError("nmt fp32: translate failed")


def working(bench: Bench) -> Iterator[Row]:
    yield Row("second", "nmt fp32", "s", [2.0], {})


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(benchmark, "PIECES", 100)
    monkeypatch.setattr(benchmark, "SENTENCES", 2)
    monkeypatch.setattr(benchmark, "matmul_peaks", lambda *_: {})
    folder = tmp_path / "data" / "multi30k"
    folder.mkdir(parents=True)
    for side in ("de", "en"):
        text = PHRASES.with_suffix(f".{side}").read_text(encoding="utf-8")
        for name in ("train", "test_2016_flickr"):
            (folder / f"{name}.{side}").write_text(text, encoding="utf-8")
    data, work = str(tmp_path / "data"), str(tmp_path / "work")
    return ["--data", data, "--work", work, "-o", str(tmp_path / "out" / "results")]


def rows(tmp_path: Path) -> list[tuple[str, str]]:
    written = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    return [(row["measure"], row["note"]) for row in written["rows"]]


def test_rows_measured_before_a_failure_are_kept(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MEASURES, "training", failing)
    monkeypatch.setitem(MEASURES, "memory", working)
    assert benchmark.main([*arguments, "--only", "training", "memory"]) == 1
    failure = ("training", "not measured: nmt fp32: translate failed")
    assert rows(tmp_path) == [("first", ""), failure, ("second", "")]


def test_row_is_on_disk_before_the_next_one_is_measured(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashing(bench: Bench) -> Iterator[Row]:
        yield from working(bench)
        raise RuntimeError("out of memory")

    monkeypatch.setitem(MEASURES, "memory", crashing)
    with pytest.raises(RuntimeError, match="out of memory"):
        benchmark.main([*arguments, "--only", "memory"])
    assert rows(tmp_path) == [("second", "")]
    assert "| second |" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")


def test_contender_that_failed_costs_its_row_alone(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(bench: Bench) -> Iterator[Row]:
        yield unmeasured("training", "eole fp32: the process ended")
        yield Row("training", "joeynmt fp32", "tokens/s", [1.0], {})

    monkeypatch.setitem(MEASURES, "training", measured)
    assert benchmark.main([*arguments, "--only", "training"]) == 1
    assert rows(tmp_path) == [
        ("training", "not measured: eole fp32: the process ended"),
        ("training", ""),
    ]


def test_second_run_is_compared_with_the_first(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([2.0, 4.0, 3.0])

    def measured(bench: Bench) -> Iterator[Row]:
        yield Row("training", "nmt fp32", "s", [next(values)], {})

    monkeypatch.setitem(MEASURES, "training", measured)
    notes = []
    for _ in range(3):
        assert benchmark.main([*arguments, "--only", "training"]) == 0
        notes.append(rows(tmp_path)[0][1].partition(" of ")[0])
    assert notes == ["", "50% worse than 2", "33% worse than 2"]


@pytest.mark.slow
def test_translation_of_an_empty_work_directory_is_measured(
    arguments: list[str], tmp_path: Path
) -> None:
    options = ["--quick", "--only", "translation", "--repetitions", "1", "--threads", "1"]
    assert benchmark.main([*arguments, *options]) == 0
    written = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [row["contender"] for row in written["rows"]] == ["nmt fp32", "nmt int8"]
    assert all(row["values"][0] > 0 for row in written["rows"])
