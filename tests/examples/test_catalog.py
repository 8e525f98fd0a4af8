"""`nmt-train --example`: files and texts that train from any folder."""

import sys
from pathlib import Path

import pytest

from nmt.config.loader import load_experiment
from nmt.examples import dates, shapes
from nmt.examples.catalog import CONFIGS, GROUPS, names
from tests.commands import nmt_train


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Generate few pairs, in a temporary current directory."""
    for task in (dates, shapes):
        monkeypatch.setattr(task, "SIZES", {"train": 30, "valid": 8, "test": 4})
    monkeypatch.chdir(tmp_path)


def _load(name: str) -> None:
    data = load_experiment(Path(name)).experiment.data
    for corpus in (*data.train, *data.valid):
        assert corpus.path.parent.parent == Path.cwd() / "data"


def test_an_example_trains_in_an_empty_folder() -> None:
    called = nmt_train("--example", "dates")
    assert called.code == 0, called.err
    assert called.out.splitlines() == [
        "dates.yaml: written",
        "data/dates: written",
        "train with: nmt-train dates.yaml",
    ]
    _load("dates.yaml")
    lines = Path("data/dates/train.text").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 30
    small = ("data.vocabulary.size=60", "training.steps=1", "training.epochs=null")
    schedule = ("training.schedule=constant", "evaluation.pictures=0")
    assert nmt_train("dates.yaml", *small, *schedule).code == 0


def test_an_example_of_several_files_shares_its_text() -> None:
    assert nmt_train("--example", "shapes").code == 0
    for name in ("shapes_soft.yaml", "shapes_hard.yaml"):
        _load(name)
        text = Path(name).read_text(encoding="utf-8")
        assert "configs/" not in text
    assert len(list(Path("data/shapes/images").iterdir())) == 42
    called = nmt_train("--example", "shapes_soft")
    assert "data/shapes: exists already, and is used" in called.out
    Path("shapes_hard.yaml").write_text("data: {}\n")
    assert "shapes_hard.yaml: already exists; rename" in nmt_train("--example", "shapes").complaint


def test_examples_that_share_a_file_can_be_written_one_after_the_other() -> None:
    # As in docs/see-and-serve.md.
    assert nmt_train("--example", "dates").code == 0
    assert nmt_train("--example", "attention").code == 0
    _load("dates_attention.yaml")


def test_a_config_without_generator_is_written_with_its_includes() -> None:
    called = nmt_train("--example", "multi30k_de_en_luong")
    assert called.out.splitlines()[0] == "multi30k_de_en_luong.yaml, multi30k_de_en.yaml: written"
    assert "data/multi30k: put the text there" in called.out
    _load("multi30k_de_en_luong.yaml")


def test_images_without_pillow_are_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nmt.examples.shapes", None)
    assert "[captioning]'" in nmt_train("--example", "shapes").complaint
    assert not list(Path().iterdir())


def test_examples_are_listed_and_an_unknown_one_is_reported() -> None:
    assert nmt_train("--example").out.split() == names()
    assert names()[:3] == ["dates", "copy", "shapes"]
    assert {path.stem for path in CONFIGS.glob("*.yaml")} <= set(names())
    complaint = nmt_train("--example", "date").complaint
    assert "unknown example 'date'; did you mean 'dates'?" in complaint
    for options in (["a.yaml"], ["--run", "r"], ["--device", "cpu"]):
        complaint = nmt_train(*options, "--example", "dates").complaint
        assert "has no effect with" in complaint and "--example" in complaint
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", [*GROUPS, *sorted(path.stem for path in CONFIGS.glob("*.yaml"))])
def test_every_config_can_be_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.examples.catalog.GENERATORS", {"copy": "", "dates": "", "shapes": ""})
    for data in ("copy", "dates", "shapes"):
        (Path("data") / data).mkdir(parents=True)
    assert nmt_train("--example", name).code == 0
    for file in Path().glob("*.yaml"):
        load_experiment(file)
        text = file.read_text(encoding="utf-8")
        assert "python scripts/" not in text  # which an installed package lacks
        assert "\\\n" not in text
