import json
import sys
from pathlib import Path

import pytest

from experiments import markdown, reports, train, valid_pairs, write_results
from nmt.config.schema import DataConfig


def test_reports_of_one_kind_are_read_in_order(tmp_path: Path) -> None:
    lines = [
        {"kind": "train", "step": 50, "loss": 2.0},
        {"kind": "valid", "step": 60, "exact": 1.0},
        {"kind": "train", "step": 100, "loss": 1.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    assert reports(tmp_path, "train") == [{"step": 50, "loss": 2.0}, {"step": 100, "loss": 1.0}]
    assert reports(tmp_path, "valid") == [{"step": 60, "exact": 1.0}]


def test_pair_is_unseen_if_training_does_not_contain_both_sides_together(
    tmp_path: Path,
) -> None:
    texts = {"train.a": "one\ntwo\n", "train.b": "1\n2\n"}
    texts |= {"valid.a": "two\none\none\n", "valid.b": "2\n2\n1\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = {"train": tmp_path / "train", "valid": tmp_path / "valid"}
    data = DataConfig.model_validate({**files, "source": "a", "target": "b"})
    every, unseen = valid_pairs(data)
    assert every == [("two", "2"), ("one", "2"), ("one", "1")]
    assert unseen == [("one", "2")]


def test_failing_training_exits_with_its_code_and_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        train(tmp_path / "missing.yaml", tmp_path / "run", [])
    assert caught.value.code == 2
    assert "missing.yaml" in capfd.readouterr().err


def test_train_passes_config_overrides_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "command"
    command.write_text(f'#!/bin/sh\nprintf "%s " "$@" > {tmp_path}/passed\n')
    command.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(command))
    train(Path("a.yaml"), Path("runs/a"), ["training.seed=3"])
    passed = (tmp_path / "passed").read_text()
    assert passed == "-m nmt.cli.train a.yaml training.seed=3 --run runs/a "


def test_table_columns_are_aligned() -> None:
    assert markdown(["system", "1"], [["plain", "0.00"], ["a", "100.00"]]).splitlines() == [
        "| system | 1      |",
        "| ------ | ------ |",
        "| plain  | 0.00   |",
        "| a      | 100.00 |",
    ]


def test_results_are_written_as_json_and_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "new" / "compare", {"a": [1.5]}, "| a |")
    assert json.loads((tmp_path / "new" / "compare.json").read_text()) == {"a": [1.5]}
    assert (tmp_path / "new" / "compare.md").read_text() == capsys.readouterr().out == "| a |\n"
