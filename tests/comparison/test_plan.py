"""Systems of a grid, and of runs that exist."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.comparison.measurement import read_test
from nmt.comparison.plan import Grid, find_systems, parse_grid, plan_experiments, safe_name
from nmt.errors import UserError, UserErrors
from tests.commands import PHRASES, write_experiment


def test_values_of_a_grid_are_those_of_a_yaml_list() -> None:
    texts = ["model.score=additive,dot", "training.clip_norm=1e-3,2", "a.b={type: x, y: 1}, null"]
    assert parse_grid(texts, "--grid") == {
        "model.score": ["additive", "dot"],
        "training.clip_norm": [0.001, 2],
        "a.b": [{"type": "x", "y": 1}, None],
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["model.score"], "write section.key=VALUE,VALUE"),
        (["model.score="], "write section.key=VALUE,VALUE"),
        (["model.score=dot,dot"], "repeats a key or a value"),
        (["a=1", "a=2"], "repeats a key or a value"),
        (["training.seed=1,2"], "use --seeds"),
    ],
)
def test_mistakes_in_a_grid_are_reported(texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^--grid: .*{message}"):
        parse_grid(texts, "--grid")


def test_systems_are_all_combinations_and_differ_in_the_values(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    files = [write_experiment(tmp_path / f"{name}.yaml", experiment) for name in ("a", "b")]
    grid: Grid = {"model.score": ["dot", "additive"], "model.decoder.hidden_size": [48]}
    systems = plan_experiments(
        files, grid, tmp_path / "runs", seeds=2, overrides=["training.seed=5"]
    )
    names = [f"{file}, {score}, hidden_size=48" for file in "ab" for score in ("dot", "additive")]
    assert [system.name for system in systems] == names
    assert [one.path.name for one in systems[1].runs] == [
        "a_additive_hidden_size=48-seed5",
        "a_additive_hidden_size=48-seed6",
    ]
    assert systems[1].runs[0].overrides == (
        "training.seed=5",
        "model.score=additive",
        "model.decoder.hidden_size=48",
    )
    assert systems[0].experiment.model.score is not None
    assert systems[0].experiment.model.score.type == "dot"
    (alone,) = plan_experiments(files[:1], {}, tmp_path)
    assert alone.name == "a"
    # Options of the same name are distinguished by their whole keys.
    sizes: Grid = {f"model.{part}.hidden_size": [48] for part in ("encoder", "decoder")}
    (both,) = plan_experiments(files[:1], sizes, tmp_path)
    assert both.name == "model.encoder.hidden_size=48, model.decoder.hidden_size=48"


def test_mistakes_of_all_combinations_are_reported_once(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    file = write_experiment(tmp_path / "a.yaml", experiment)
    with pytest.raises(UserErrors) as caught:
        plan_experiments([file], {"model.score": ["dott", "addi"]}, tmp_path, overrides=["x.y=1"])
    assert len(caught.value.lines) == 3
    with pytest.raises(UserErrors, match="score 'dot': requires queries and annotations of equal"):
        plan_experiments([file], {"model.score": ["dot", "additive"]}, tmp_path)
    with pytest.raises(UserError, match="two experiment files have the same name"):
        plan_experiments([file, file], {}, tmp_path)


def test_runs_that_differ_in_their_seed_alone_are_one_system(trained: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))
    for name, seed, dropout in (("x-seed2", 2, 0), ("x-seed1", 1, 0), ("y-seed1", 1, 0.5)):
        (tmp_path / name).mkdir()
        config["training"]["seed"], config["model"]["embedding_dropout"] = seed, dropout
        write_experiment(tmp_path / name / "config.yaml", config)
    systems = find_systems(sorted(tmp_path.iterdir()))
    assert [(one.name, [run.seed for run in one.runs]) for one in systems] == [
        ("x", [1, 2]),
        ("y", [1]),
    ]


def test_runs_of_equal_options_and_seeds_are_no_seeds_of_one_system(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    runs = [tmp_path / name / "run" for name in ("a", "b")]
    for run in runs:
        run.mkdir(parents=True)
        write_experiment(run / "config.yaml", experiment)
    (tmp_path / "link").symlink_to(runs[0])
    systems = find_systems([*runs, tmp_path / "link"])
    assert len(systems) == 2
    assert len({safe_name(one.name) for one in systems}) == 2


def test_systems_of_different_languages_are_not_compared(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    files = [write_experiment(tmp_path / f"{name}.yaml", experiment) for name in ("a", "b")]
    first, second = plan_experiments(files, {}, tmp_path)
    data = second.experiment.data.model_copy(update={"target": "ja"})
    other = replace(second, experiment=second.experiment.model_copy(update={"data": data}))
    with pytest.raises(UserError, match=r"^the target languages differ: en of a, ja of b"):
        read_test([PHRASES.with_suffix(".de"), PHRASES.with_suffix(".en")], [first, other])


@pytest.mark.parametrize(
    ("name", "safe"), [("a, b=1", "a_b=1"), ("../x", "x"), ("한국어", "한국어"), ("?", "system")]
)
def test_safe_names_are_single_path_components(name: str, safe: str) -> None:
    assert safe_name(name) == safe
