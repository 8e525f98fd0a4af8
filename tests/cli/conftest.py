"""A working directory, the phrases, and their translations by the tiny model."""

from pathlib import Path

import pytest

from nmt.search.translator import Translator
from tests.commands import PHRASES


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def de() -> Path:
    """The German phrases."""
    return Path(f"{PHRASES}.de")


@pytest.fixture
def en() -> Path:
    """The English phrases."""
    return Path(f"{PHRASES}.en")


@pytest.fixture(scope="session")
def expected(translator: Translator, sources: list[str]) -> list[str]:
    """The translations of the German phrases by the tiny model."""
    return [one.text for one in translator.translate(sources)]
