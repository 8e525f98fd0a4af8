import json
import sys
from pathlib import Path

import compare_precisions
import pytest

from tests.commands import PHRASES


@pytest.mark.slow
def test_all_precisions_are_measured(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "precisions"
    arguments = [trained, "--test", PHRASES, "--output", output]
    monkeypatch.setattr(sys, "argv", ["compare_precisions.py", *map(str, arguments)])
    compare_precisions.main()
    found = json.loads(output.with_suffix(".json").read_text())
    assert list(found) == ["fp32", "bf16", "int8"]
    assert abs(found["int8"]["bleu"] - found["fp32"]["bleu"]) < 5
    assert found["int8"]["megabytes"] < found["fp32"]["megabytes"]
