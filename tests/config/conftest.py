"""Experiment files of one test, and the errors about them."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment
from nmt.errors import UserError

Write = Callable[..., Path]
Errors = Callable[..., list[str]]
Read = Callable[..., Experiment]
REQUIRED_KEYS = (
    "data: {train: train, valid: valid, source: de, target: en}\ntraining: {epochs: 1}\n"
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes an experiment file."""

    def write_text(text: str, name: str = "e.yaml") -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return file

    return write_text


@pytest.fixture
def read(write: Write) -> Read:
    """Return a function that loads a text after the required keys, which are lines 1 and 2."""

    def read_text(text: str = "", *overrides: str) -> Experiment:
        return load_experiment(
            write(REQUIRED_KEYS + dedent(text).lstrip("\n")), overrides
        ).experiment

    return read_text


@pytest.fixture
def errors(tmp_path: Path, write: Write) -> Errors:
    """Return a function that loads a text and returns all errors, without the file's folder."""

    def errors_of(text: str, *overrides: str) -> list[str]:
        with pytest.raises(UserError) as error:
            load_experiment(write(text), overrides)
        return [line.replace(f"{tmp_path}/", "") for line in error.value.lines]

    return errors_of
