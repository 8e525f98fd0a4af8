import json
from pathlib import Path

import numpy as np
import pytest
from draw_sizes import draw, main, read_study


def _write(folder: Path, *scores: float) -> str:
    folder.mkdir()
    systems = [{"scores": {"chrf": {"mean": one}, "bleu": {"mean": one / 2}}} for one in scores]
    (folder / "results.json").write_text(json.dumps({"systems": systems}), encoding="utf-8")
    return f"{folder.name}={folder}"


def test_every_system_has_a_line_over_the_sizes(tmp_path: Path) -> None:
    large = read_study(_write(tmp_path / "100", 10, 20))
    small = read_study(_write(tmp_path / "50", 4, 6))
    _, bleu = draw([small, large], ["a", "b"], ["chrf", "bleu"]).axes
    lines = {line.get_label(): np.array(line.get_xydata()).tolist() for line in bleu.lines}
    assert lines == {"a": [[50, 2], [100, 5]], "b": [[50, 3], [100, 10]]}


def test_all_systems_have_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, output = _write(tmp_path / "50", 4, 6), tmp_path / "sizes.png"
    main([study, "--names", "a", "b", "-o", str(output)])
    assert output.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        main([study, "--names", "a", "-o", str(output)])
    assert "--names must name every system" in capsys.readouterr().err
