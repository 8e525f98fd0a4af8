"""Components that do not fit together are reported before any data is read."""

from pathlib import Path

import pytest

from nmt.config.loader import load_experiment
from nmt.errors import UserError
from nmt.training.dry_run import check_components

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
