"""Records of the options of a run, also those of other versions."""

from pathlib import Path
from typing import Any

import pytest

from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment
from nmt.errors import UserError
from nmt.storage.run_dir import RunDir
from nmt.storage.run_inputs import check_unchanged, decisive_options
from tests.commands import write_experiment
from tests.conftest import tiny_experiment


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return load_experiment(write_experiment(tmp_path / "e.yaml", tiny_experiment())).experiment


def _check(options: dict[str, Any], experiment: Experiment, folder: Path) -> None:
    check_unchanged(RunDir(folder), {"options": options}, experiment, remedy="train again")


def test_an_option_that_decided_the_weights_in_another_version_only_is_ignored(
    experiment: Experiment, tmp_path: Path
) -> None:
    options = decisive_options(experiment)
    for key, value in {"training.log_every": 7, "evaluation.samples": 9}.items():
        assert key not in options
        _check(options | {key: value}, experiment, tmp_path)


def test_an_option_that_is_new_has_its_default_in_a_run_without_it(
    experiment: Experiment, tmp_path: Path
) -> None:
    options = decisive_options(experiment)
    del options["training.recurrence"]
    _check(options, experiment, tmp_path)
    with pytest.raises(UserError, match=r"embedding_size: 25; .*24"):
        _check(options | {"model.embedding_size": 25}, experiment, tmp_path)
