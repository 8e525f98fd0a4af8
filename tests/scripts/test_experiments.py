import json
from pathlib import Path

import pytest

from experiments import write_results


def test_results_are_written_as_json_and_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "new" / "compare", {"a": [1.5]}, "| a |")
    assert json.loads((tmp_path / "new" / "compare.json").read_text()) == {"a": [1.5]}
    assert (tmp_path / "new" / "compare.md").read_text() == capsys.readouterr().out == "| a |\n"
