"""The end of a training: its score, trivial baselines, the trend, and the command that goes on."""

import re
from pathlib import Path
from typing import Any

import pytest

from nmt.evaluation.metrics import score
from nmt.training.best_metric import BestMetricTracker
from tests.commands import PHRASES, lines_of, nmt_train, reports, write_experiment
from tests.training.conftest import quick


@pytest.fixture
def split(experiment: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The tiny experiment, whose validation sentences are not those of the training."""
    for side in ("de", "en"):
        lines = lines_of(PHRASES.with_suffix(f".{side}"))
        (tmp_path / f"train.{side}").write_text("\n".join(lines[:40]) + "\n", encoding="utf-8")
        (tmp_path / f"valid.{side}").write_text("\n".join(lines[40:]) + "\n", encoding="utf-8")
    experiment["data"] |= {"train": "train", "valid": "valid", "vocabulary": {"size": 120}}
    return experiment


def _end(err: str) -> str:
    """Return the log from the line on that training has finished, without dates."""
    lines = [re.sub(r"^\S+ \S+ ", "", line) for line in err.splitlines()]
    return "\n".join(lines[next(i for i, one in enumerate(lines) if "finished after" in one) :])


def test_end_reports_score_baselines_trend_and_command(
    split: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(split, validate_every=2, optimizer={"type": "adam", "learning_rate": 1e-3})
    file, run = write_experiment(tmp_path / "a.yaml", tree), tmp_path / "my run"
    called = nmt_train(file, "--run", run, "training.steps=6", "training.accumulate=2")
    end, losses = _end(called.err), [r["loss"] for r in reports(run) if r["kind"] == "valid"]
    assert re.search(r"^chrf \S+ on 20 validation .* interval \S+ to \S+$", end, re.M)
    sides = [lines_of(tmp_path / f"valid.{side}") for side in ("de", "en")]
    copies = score(["chrf"], sides[0], [sides[1]])["chrf"].score
    assert f"chrf {copies:.2f} by copies of the source, chrf " in end
    # After six updates, a model translates nothing.
    assert "the model is not better than " in end
    assert f"still falling: {losses[-1]:.4f}, after {losses[-2]:.4f}" in end
    command = f"to go on: nmt-train {file} training.accumulate=2 --run '{run}' training.steps=12"
    assert command in end


def test_end_of_a_continued_run_scores_the_best_checkpoint_of_another_process(
    split: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = quick(split, validate_every=2, steps=2)
    file, run = write_experiment(tmp_path / "a.yaml", tree), tmp_path / "run"
    first = _end(nmt_train(file, "--run", run).err).splitlines()
    # No later validation is better.
    monkeypatch.setattr(BestMetricTracker, "update", lambda *given, **named: False)
    second = _end(nmt_train(file, "--run", run, "training.steps=4").err).splitlines()
    assert "after update 2" in second[0]
    assert second[1:3] == first[1:3]
    assert re.search(r"^chrf \S+ on 20 validation", second[1])


@pytest.mark.parametrize("kind", ["inverse_sqrt", "linear"])
def test_end_within_the_warmup_advises_a_shorter_one(
    kind: str, split: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(split, steps=4, validate_every=2, early_stopping={"metric": "bleu"})
    tree["training"]["schedule"] = {"type": kind, "warmup": 100}
    tree["evaluation"]["metrics"] = ["bleu"]
    file = write_experiment(tmp_path / "a.yaml", tree)
    called = nmt_train(file, "--run", tmp_path / "run")
    end = _end(called.err)
    assert "reached 4 % of its maximum, because training.schedule.warmup is 100 updates" in end
    assert end.endswith("training.schedule.warmup=1 --restart")
    # The loss decides between equal scores, but these have not improved.
    assert "bleu was still improving" not in end
    assert called.err.count("bleu below 1 says nothing yet") == 1


def test_a_limit_that_passes_before_the_first_update_leaves_a_checkpoint(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    tree = quick(experiment, steps=None, minutes=1e-9)
    called = nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", tmp_path / "run")
    assert called.code == 0, called.err
    assert "finished after 1e-09 minutes" in called.err
    assert (tmp_path / "run" / "checkpoints" / "1").is_dir()


def test_end_of_a_schedule_advises_to_start_over(split: dict[str, Any], tmp_path: Path) -> None:
    tree = quick(
        split,
        steps=2,
        validate_every=1,
        schedule={"type": "linear", "steps": 2},
        early_stopping={"metric": "ter"},
    )
    tree["evaluation"]["metrics"] = ["ter"]
    file = write_experiment(tmp_path / "a.yaml", tree)
    end = _end(nmt_train(file, "--run", tmp_path / "run").err)
    assert "by copies of the source, ter " in end
    assert "fallen to 0 % of its maximum" in end
    assert end.endswith("training.steps=4 training.schedule.steps=4 --restart")
