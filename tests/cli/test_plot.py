"""nmt-plot: files, formats and mistakes."""

import json
from pathlib import Path

import pytest

from nmt.cli import plot
from tests.commands import Called, call


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with two runs, one without reports, and a file."""
    for name in ("a", "b", "empty"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "metrics.jsonl").write_text("")
    for name in ("a", "b"):
        rows = [{"kind": "valid", "step": step, "loss": 3.0 / step} for step in (1, 2)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "runs" / name / "metrics.jsonl").write_text(text)
    (tmp_path / "runs" / "notes.txt").write_text("")
    return tmp_path / "runs"


def _plot(*arguments: object) -> Called:
    return call(plot.main, *arguments)


@pytest.mark.parametrize(
    ("name", "start"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_ending_selects_the_format_and_equal_curves_are_equal_files(
    name: str, start: bytes, runs: Path
) -> None:
    contents = []
    for number in (1, 2):
        file = runs.parent / f"{number}.{name}"
        called = _plot(*sorted(runs.iterdir()), "-o", file)
        assert called.code == 0, called.err
        assert f"{runs / 'empty'}: is left out, because it has no reports" in called.err
        assert called.err.count("is left out") == 2
        assert f"{file}: curves of 2 runs" in called.err
        contents.append(file.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "-o", "a.jpg"], "a.jpg: -o must end in one of .png, .svg, .pdf"),
        (["a", "-o", "no/a.png"], "no/a.png: cannot be written: No such file"),
        (["empty"], "empty/metrics.jsonl: has no reports yet"),
        (["notes.txt", "empty"], "none of the directories is a run with reports"),
        (["missing", "a"], "missing: not found"),
        (["a", "--metrics", "loss", "chrf"], "no run reports 'chrf'; known: loss"),
        (["a", "--x", "minutes"], "a: has no minutes; use updates"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    called = _plot(*arguments)
    assert called.code == 2
    assert called.err.splitlines()[-1].startswith(f"nmt-plot: {message}")
    assert not (runs / "curves.png").exists()
