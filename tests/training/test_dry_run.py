"""Components that do not fit together are reported before any data is read."""

from pathlib import Path
from typing import Any

import pytest

from nmt.config.loader import load_experiment
from nmt.config.schema import VocabularyConfig
from nmt.config.search_options import BEAM_OPTIONS, SearchOptions
from nmt.errors import UserError
from nmt.training.dry_run import check_components
from tests.commands import write_experiment

TEXT = "data: {train: train, valid: valid, source: de, target: en}\n"

EXPERIMENT = """\
data: {train: train, valid: valid, source: de, target: en, pictures: {size: 64}}
training: {epochs: 1}
"""
MISFITS = {
    "model: {encoder: features}": "encoder 'features': ",
    "model: {encoder: {type: convolution, blocks: 7}}": "encoder 'convolution': ",
    "model: {encoder: convolution, embedding_size: 512, tied_embeddings: all}": "tied_embeddings",
    "model: {encoder: convolution, decoder: {type: bahdanau, initial_state: last}}": (
        "decoder 'bahdanau': "
    ),
}


@pytest.mark.parametrize(("model", "words"), MISFITS.items(), ids=MISFITS.keys())
def test_components_that_do_not_fit_images_are_reported(
    model: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"{EXPERIMENT}{model}\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        check_components(load_experiment(file))
    assert words in str(error.value)
    assert error.value.location == f"{file}:3"


def test_feature_maps_require_their_encoder(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    text = EXPERIMENT.replace("{size: 64}", "{features: 8}")
    file.write_text(f"{text}model: {{encoder: convolution}}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.pictures\.size"):
        check_components(load_experiment(file))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("data", "data.vocabulary.{name}: has no effect with training.start_from"),
        ("search", "search.{name}: has no effect with sampling"),
    ],
)
def test_options_that_others_replace_are_reported_at_their_line(
    section: str, words: str, tmp_path: Path
) -> None:
    """Every option of the section, even if it has its default value."""
    kind = VocabularyConfig if section == "data" else SearchOptions
    defaults = kind().to_dict()
    names = [name for name in defaults if name != "sampling"]
    if section == "search":
        names = [name for name in names if name in BEAM_OPTIONS]
    for name in names:
        tree: dict[str, Any] = {
            "data": {"train": "train", "valid": "valid", "source": "de", "target": "en"},
            "training": {"epochs": 1},
            section: {},
        }
        if section == "data":
            tree["data"] |= {"train": "a", "valid": "b", "source": "de", "target": "en"}
            tree["data"]["vocabulary"] = {name: defaults[name]}
            tree["training"]["start_from"] = "run"
        else:
            tree["search"] = {"sampling": {}, name: defaults[name]}
        file = write_experiment(tmp_path / "e.yaml", tree)
        with pytest.raises(UserError) as error:
            check_components(load_experiment(file))
        assert words.format(name=name) in str(error.value)
        assert str(file) in str(error.value)


def test_resolved_file_may_contain_defaults_of_replaced_options(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    training = "training: {epochs: 1, start_from: run}"
    file.write_text(f"{TEXT}{training}\nsearch: {{sampling: {{}}}}\n", encoding="utf-8")
    resolved = load_experiment(file).experiment.to_dict()
    check_components(load_experiment(write_experiment(tmp_path / "r.yaml", resolved)))
    resolved["data"]["vocabulary"]["size"] = 77
    with pytest.raises(UserError, match=r"data\.vocabulary\.size: has no effect"):
        check_components(load_experiment(write_experiment(tmp_path / "r.yaml", resolved)))
