"""Pictures go with an encoder that reads them, and with nothing else."""

import pytest

from nmt.config.loader import load_experiment
from nmt.errors import UserError
from nmt.training.dry_run import check_components
from tests.config.conftest import NEEDED, Complain, Read, Write

PICTURED = NEEDED.replace("target: en}", "target: en, pictures: {size: 64}}")


def test_pictures_and_their_encoder_go_together(read: Read) -> None:
    experiment = read("", "data.pictures.size=48", "model.encoder.type=convolution")
    assert experiment.data.pictures is not None
    assert (experiment.data.pictures.size, experiment.data.pictures.features) == (48, None)
    assert read().data.pictures is None


def test_pictures_for_an_encoder_of_text_are_a_mistake(complain: Complain) -> None:
    (line,) = complain(PICTURED)
    assert line.startswith(
        "e.yaml:1: data.pictures: is given, but encoder 'bilstm' reads text; remove it or use "
        "encoder "
    )
    assert "convolution" in line and "features" in line and "bilstm or" not in line


@pytest.mark.parametrize("encoder", ["convolution", "features"])
def test_an_encoder_of_pictures_without_them_is_a_mistake(encoder: str, complain: Complain) -> None:
    (line,) = complain(f"{NEEDED}model:\n  encoder: {encoder}\n")
    remedy = "add to data: 'pictures: {size: 64}'"
    assert line == f"e.yaml:4: model.encoder: '{encoder}' reads pictures; {remedy}"


def test_a_mistaken_encoder_is_the_only_mistake(complain: Complain) -> None:
    (line,) = complain(f"{PICTURED}model: {{encoder: convolutoin}}\n")
    assert "did you mean 'convolution'?" in line


WRONG = {
    "{}": "data.pictures: give one of size, for pictures as pixels, and features, for ready",
    "{size: 64, features: 8}": "data.pictures: give one of size",
    "{size: 64, positions: 49}": "data.pictures: positions are those of feature maps",
    "{size: 0}": "data.pictures.size: must be at least 1, got 0",
    "{side: 64}": "data.pictures.side: no key 'side'; did you mean 'size'? known: size, features,",
}


@pytest.mark.parametrize(("pictures", "words"), WRONG.items())
def test_what_pictures_are_is_said_once(pictures: str, words: str, complain: Complain) -> None:
    text = NEEDED.replace("en}", f"en, pictures: {pictures}}}") + "model: {encoder: convolution}\n"
    (line,) = complain(text)
    assert line.startswith(f"e.yaml:1: {words}")


def test_pictures_have_no_vocabulary_of_their_own(complain: Complain) -> None:
    text = f"{PICTURED}model: {{encoder: convolution}}\n"
    (line,) = complain(text, "data.vocabulary.model=[a.model, b.model]")
    assert "vocabulary.model: pictures have none; give the target's alone" in line


MISFITS = {
    "model: {encoder: features}": (
        "encoder 'features': reads feature maps; set data.pictures.features, or use"
    ),
    "model: {encoder: {type: convolution, blocks: 7}}": (
        "encoder 'convolution': halves the sides 7 times, and 64 pixels are no multiple of 128;"
    ),
    "model: {encoder: convolution, embedding_size: 512, tied_embeddings: all}": (
        "tied_embeddings 'all' shares the source's table too, and pictures have none; use 'decoder'"
    ),
    "model: {encoder: convolution, decoder: {type: bahdanau, initial_state: last}}": (
        "decoder 'bahdanau': initial_state 'last' needs a state a layer: the encoder has 0"
    ),
}


@pytest.mark.parametrize(("model", "words"), MISFITS.items(), ids=MISFITS.keys())
def test_parts_that_do_not_fit_pictures_are_told_before_any_is_read(
    model: str, words: str, write: Write
) -> None:
    file = write(f"{PICTURED}{model}\n")
    with pytest.raises(UserError) as mistake:
        check_components(load_experiment(file))
    assert words in str(mistake.value)
    assert mistake.value.place == f"{file}:3"


def test_feature_maps_need_their_encoder(write: Write) -> None:
    text = PICTURED.replace("{size: 64}", "{features: 8}")
    file = write(f"{text}model: {{encoder: convolution}}\n")
    with pytest.raises(UserError, match=r"reads pixels; set data\.pictures\.size, or use encoder"):
        check_components(load_experiment(file))
