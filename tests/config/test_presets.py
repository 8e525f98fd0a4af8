"""Settings by the size of the text give valid experiments with their reasons."""

from pathlib import Path

import pytest
import yaml

from nmt.config.loader import load_experiment
from nmt.config.presets import (
    MIN_EPOCHS,
    PRESETS,
    Choice,
    Facts,
    Preset,
    choose,
    reduce_vocabulary,
    set_duration,
)
from nmt.config.writing import write_yaml
from nmt.model.build import check_model

FACTS = Facts(
    pairs=3_000,
    characters=(60, 70),
    joint_characters=90,
    shares_letters=True,
    longest=60,
    has_gpu=False,
    has_fast_bf16=False,
)


def _experiment(choice: Choice, tmp_path: Path) -> Path:
    choice.settings["data"] |= {"train": "t", "valid": "v", "source": "de", "target": "en"}
    file = tmp_path / "e.yaml"
    file.write_text(write_yaml(choice.settings, choice.reasons, "title"), encoding="utf-8")
    return file


@pytest.mark.parametrize("shares_letters", [True, False])
@pytest.mark.parametrize("row", PRESETS, ids=lambda row: row.name)
def test_every_row_is_chosen_and_gives_a_valid_model(
    row: Preset, shares_letters: bool, tmp_path: Path
) -> None:
    pairs = int(min(row.max_pairs, 10**7))
    choice = choose(
        FACTS._replace(pairs=pairs, shares_letters=shares_letters), float(row.min_minutes or 5)
    )
    assert choice.preset == row
    set_duration(choice, 90, 1.0, None)
    experiment = load_experiment(_experiment(choice, tmp_path)).experiment
    joint = experiment.data.vocabulary.joint
    check_model(experiment.model, joint=joint, image_size=None)
    assert experiment.training.epochs is not None
    assert experiment.training.epochs >= MIN_EPOCHS
    assert experiment.training.early_stopping.metric == "chrf"


@pytest.mark.parametrize(
    ("characters", "joint_characters", "shares_letters", "size"),
    [((60, 70), 90, True, 1000), ((900, 70), 950, False, 1050), ((60, 3000), 3050, False, 3360)],
)
def test_vocabulary_has_more_tokens_than_characters(
    characters: tuple[int, int], joint_characters: int, shares_letters: bool, size: int
) -> None:
    facts = FACTS._replace(
        characters=characters, joint_characters=joint_characters, shares_letters=shares_letters
    )
    vocabulary = choose(facts).settings["data"]["vocabulary"]
    assert vocabulary["size"] == size
    assert size >= 1.1 * joint_characters
    assert ("character_coverage" in vocabulary) == (joint_characters > 2500)


def test_vocabulary_is_reduced_to_characters_at_last() -> None:
    choice = choose(FACTS)
    vocabulary = choice.settings["data"]["vocabulary"]
    sizes = []
    while reduce_vocabulary(choice):
        sizes.append((vocabulary["size"], vocabulary.get("type")))
    assert sizes == [(500, None), (250, None), (125, None), (125, "char")]


@pytest.mark.parametrize(
    ("gpu", "bf16", "precision"),
    [(True, False, "auto"), (False, True, "bf16"), (False, False, "fp32")],
)
def test_precision_is_that_of_the_machine(gpu: bool, bf16: bool, precision: str) -> None:
    choice = choose(FACTS._replace(has_gpu=gpu, has_fast_bf16=bf16))
    assert choice.settings["training"]["precision"] == precision


def test_budget_of_minutes_replaces_the_epochs() -> None:
    choice = choose(FACTS)
    set_duration(choice, 1000, 1.0, None)
    assert choice.settings["training"]["epochs"] == 36
    assert set_duration(choice, 95, 30.0, 10.0) == 10
    training = choice.settings["training"]
    assert training["minutes"] == 10.0
    # The schedule ends with the training, so it needs no number of steps.
    assert not {"epochs", "steps"} & {*training, *training["schedule"]}
    assert training["validate_every"] == 190
    assert "20 epochs" in choice.reasons["training.minutes"]
    assert "fewer than" not in choice.reasons["training.minutes"]
    set_duration(choice, 95, 30.0, 1.0)
    assert f"fewer than {MIN_EPOCHS}" in choice.reasons["training.minutes"]
    assert training["schedule"]["warmup"] < 2 * 95


def test_written_file_has_the_values_and_comments() -> None:
    settings = {"data": {"train": "a: b", "languages": ["no", "on"]}, "model": {"rate": 3e-3}}
    reasons = {"data.train": "word " * 40, "model": "a reason"}
    text = write_yaml(settings, reasons, "title\n  command")
    assert yaml.safe_load(text) == settings
    lines = text.split("\n")
    assert lines[:3] == ["# title", "#   command", "data:"]
    assert max(map(len, lines)) <= 100
    assert lines[lines.index("model:") - 1] == "# a reason"
