"""Search for the best values of options; Optuna itself is not installed for the check."""

import sys
from pathlib import Path
from typing import Any

import pytest

from nmt.comparison.plan import plan_experiments
from nmt.comparison.tuning import Range, parse_tuning, tune
from nmt.errors import UserError
from tests.commands import write_experiment


def test_ranges_and_lists_are_read() -> None:
    texts = ["3", "a.rate=1e-4..1e-2:log", "a.size=8..32", "a.drop=0..0.5", "a.score=dot,{type: x}"]
    tuning = parse_tuning(texts, "--tune")
    assert tuning.trials == 3
    assert tuning.space == {
        "a.rate": Range(1e-4, 1e-2, True),
        "a.size": Range(8, 32),
        "a.drop": Range(0, 0.5),
        "a.score": ["dot", '{"type": "x"}'],
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a=1..2"], "write the number of trials"),
        (["5"], "write the number of trials"),
        (["0", "a=1..2"], "write the number of trials"),
        (["5", "a=1..x"], "'a=1..x' is not a range"),
        (["5", "a=1..2:linear"], "'a=1..2:linear' is not a range"),
        (["5", "a=2..1"], "LOW must be below HIGH"),
        (["5", "a=0..1:log"], "above 0 with :log"),
        (["5", "a"], "'a' is not a grid"),
        (["5", "training.seed=1..3"], "training.seed is not tuned; use --seeds"),
    ],
)
def test_mistakes_are_reported(texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^--tune: .*{message}"):
        parse_tuning(texts, "--tune")


def test_missing_optuna_and_unknown_options_are_reported_before_the_first_trial(
    experiment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    (system,) = plan_experiments([write_experiment(tmp_path / "a.yaml", experiment)], {}, tmp_path)
    for key, message in (
        ("training.clip_norm", r"requires the package optuna; run .*\[tune\]"),
        ("training.clip_nrm", "did you mean 'clip_norm'"),
    ):
        with pytest.raises(UserError, match=message):
            tune(system, parse_tuning(["1", f"{key}=1..2"], "--tune"), tmp_path, report=print)


@pytest.mark.filterwarnings("default")  # of Optuna itself
def test_trials_are_trained_recorded_and_continued(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    experiment["training"] |= {"epochs": None, "steps": 2}
    experiment["evaluation"] = {"samples": 0, "pictures": 0, "metrics": ["chrf"]}
    experiment["search"] = {"beam_size": 1, "max_length": 5}
    file = write_experiment(tmp_path / "a.yaml", experiment)
    (system,) = plan_experiments([file], {}, tmp_path, seeds=2)
    values = ["model.decoder.hidden_size=8..16", "model.score=additive,general"]
    for trials in (1, 2):
        lines: list[str] = []
        tuning = parse_tuning([str(trials), *values], "--tune")
        tuned = tune(system, tuning, tmp_path / "t", report=lines.append)
        assert len(lines) == 2  # one new trial, and the best one
        rows = (tmp_path / "t" / "a.csv").read_text().splitlines()
        assert rows[0] == "trial,state,model.decoder.hidden_size,model.score,chrf"
        assert len(rows) == trials + 1
    for run in tuned.runs:
        assert [text.partition("=")[0] for text in run.overrides] == [
            text.partition("=")[0] for text in values
        ]
