"""Progress of a long translation on standard error."""

import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmt.cli import progress
from nmt.cli.progress import reporting


@pytest.mark.parametrize(("seconds", "reports"), [(0.001, True), (60.0, False)])
def test_only_a_long_translation_is_reported(
    seconds: float, reports: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", seconds)
    written = threading.Event()
    stream = io.StringIO()

    class Recorder(io.StringIO):
        def write(self, text: str) -> int:
            written.set()
            return stream.write(text)

    monkeypatch.setattr(sys, "stderr", Recorder())

    def items() -> Iterator[int]:
        yield 1
        yield 2
        assert written.wait(30 if reports else 0.01) == reports

    with reporting("nmt-translate", items()) as counted:
        assert list(counted) == [1, 2]
    lines = stream.getvalue().splitlines()
    assert bool(lines) == reports
    assert all(line.endswith(" lines translated in 0 s") for line in lines)


def test_error_of_the_translation_ends_the_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 60.0)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), reporting("x", map(int, "10")) as counted:
        list(1 // number for number in counted)
    assert threading.active_count() == before


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("name", "shown"), [("a", "0/3 ["), ("a.gz", "0 lines ["), ("-", "0 li")])
def test_bar_on_a_terminal_knows_the_lines_of_a_plain_file(
    name: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"a\nb\nc\n")
    monkeypatch.setattr(sys, "stderr", stream := _Terminal())
    with reporting("nmt-translate", iter([1, 2, 3]), name) as items:
        assert list(items) == [1, 2, 3]
    monkeypatch.undo()
    assert shown in stream.getvalue()


def test_bar_is_not_mixed_with_translations_on_the_same_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", stream := _Terminal())
    monkeypatch.setattr(sys, "stdout", _Terminal())
    with reporting("nmt-translate", iter([1, 2])) as items:
        assert list(items) == [1, 2]
    monkeypatch.undo()
    assert stream.getvalue() == ""
