"""Writing experiment files, and reading what is said of them."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment
from nmt.errors import UserError

Write = Callable[..., Path]
Complain = Callable[..., list[str]]
Read = Callable[..., Experiment]
NEEDED = "data: {train: train, valid: valid, source: de, target: en}\ntraining: {epochs: 1}\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an experiment file of the text alone."""

    def write_text(text: str, name: str = "e.yaml") -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return file

    return write_text


@pytest.fixture
def read(write: Write) -> Read:
    """The experiment of the needed sections, in lines 1 and 2, and then the text."""

    def read_text(text: str = "", *overrides: str) -> Experiment:
        return load_experiment(write(NEEDED + dedent(text).lstrip("\n")), overrides).experiment

    return read_text


@pytest.fixture
def complain(tmp_path: Path, write: Write) -> Complain:
    """Every line about a text, the folder of the file left out."""

    def complaints(text: str, *overrides: str) -> list[str]:
        with pytest.raises(UserError) as mistakes:
            load_experiment(write(text), overrides)
        return [line.replace(f"{tmp_path}/", "") for line in mistakes.value.lines]

    return complaints
