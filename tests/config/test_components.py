"""Components of the model: their options, those that nothing uses, and encoders of images."""

from pathlib import Path

import pytest

from nmt.registry import DECODERS, MECHANISMS, ComponentConfig
from tests.config.conftest import REQUIRED_KEYS, Errors, Read
from tests.model.minimal import BlindDecoder, UniformAttention

IMAGES = REQUIRED_KEYS.replace("target: en}", "target: en, pictures: {size: 64}}")


def test_components_get_all_their_options(read: Read) -> None:
    model = read("model: {decoder: luong, score: {type: concat, hidden_size: 7}}").model
    assert model.score == ComponentConfig("concat", {"hidden_size": 7, "heads": 1})
    assert model.attention == ComponentConfig("global", {"coverage": False, "dropout": 0.0})
    assert model.decoder.options["input_feeding"] is True
    assert model.encoder.type == "bilstm"


@pytest.fixture
def _components_without_others(plugin_dir: Path) -> None:
    DECODERS.register("blind")(BlindDecoder)
    MECHANISMS.register("uniform")(UniformAttention)


@pytest.mark.usefixtures("_components_without_others")
def test_attention_and_score_are_left_out_if_nothing_uses_them(read: Read) -> None:
    model = read("model: {decoder: blind}").model
    assert (model.attention, model.score) == (None, None)
    model = read("model: {attention: uniform}").model
    assert model.attention is not None
    assert model.score is None


UNUSED = {
    "decoder: plain\n  attention: global": (
        "attention: has no effect with decoder 'plain'; remove it"
    ),
    "decoder: peeky\n  attention: {type: global, coverage: true}": (
        "attention: has no effect with decoder 'peeky'; remove it"
    ),
    "decoder: blind\n  attention: global": (
        "attention: has no effect with decoder 'blind'; remove it"
    ),
    "attention: uniform\n  score: dot": "score: has no effect with attention 'uniform'; remove it",
    "decoder: plain\n  score: dot": "score: has no effect without attention; remove it",
    "decoder: blind\n  score: dot": "score: has no effect without attention; remove it",
}


@pytest.mark.usefixtures("_components_without_others")
@pytest.mark.parametrize(("text", "message"), UNUSED.items(), ids=map(repr, UNUSED))
def test_a_component_that_nothing_uses_is_reported(text: str, message: str, errors: Errors) -> None:
    assert errors(f"{REQUIRED_KEYS}model:\n  {text}\n") == [f"e.yaml:5: model.{message}"]


def test_an_unused_component_of_the_command_line_is_reported(errors: Errors) -> None:
    text = f"{REQUIRED_KEYS}model:\n  decoder: plain\n"
    (line,) = errors(text, "model.score.hidden_size=3")
    assert line == "command line: model.score: has no effect without attention; remove it"


def test_an_unknown_decoder_does_not_hide_other_errors(errors: Errors) -> None:
    lines = errors(f"{REQUIRED_KEYS}model:\n  decoder: blnd\n  score: doot\n")
    assert [line.partition(";")[0] for line in lines] == [
        "e.yaml:4: model.decoder: unknown decoder 'blnd'",
        "e.yaml:5: model.score: unknown attention score 'doot'",
    ]


def test_images_require_an_encoder_of_images(read: Read, errors: Errors) -> None:
    data = read("", "data.pictures.size=48", "model.encoder.type=convolution").data
    assert data.pictures is not None
    assert (data.pictures.size, data.pictures.features) == (48, None)
    assert read().data.pictures is None
    assert errors(IMAGES) == [
        "e.yaml:1: data.pictures: encoder 'bilstm' reads text; remove it or use encoder "
        "convolution or features"
    ]


@pytest.mark.parametrize("encoder", ["convolution", "features"])
def test_an_encoder_of_images_requires_images(encoder: str, errors: Errors) -> None:
    assert errors(f"{REQUIRED_KEYS}model:\n  encoder: {encoder}\n") == [
        f"e.yaml:4: model.encoder: '{encoder}' requires images; "
        "add 'pictures: {size: 64}' to data"
    ]


def test_an_unknown_encoder_of_images_is_the_only_error(errors: Errors) -> None:
    (line,) = errors(f"{IMAGES}model: {{encoder: convolutoin}}\n")
    assert "did you mean 'convolution'?" in line


PICTURES = {
    "{}": "data.pictures: requires either size, for images as pixels, or features, for feature",
    "{size: 64, features: 8}": "data.pictures: requires either size",
    "{size: 64, positions: 49}": "data.pictures: positions has no effect with size; remove one of",
    "{size: 0}": "data.pictures.size: must be at least 1, got 0",
    "{side: 64}": "data.pictures.side: unknown key; did you mean 'size'? known: size, features,",
}


@pytest.mark.parametrize(("pictures", "message"), PICTURES.items())
def test_invalid_image_options_are_reported(pictures: str, message: str, errors: Errors) -> None:
    text = REQUIRED_KEYS.replace("en}", f"en, pictures: {pictures}}}")
    (line,) = errors(f"{text}model: {{encoder: convolution}}\n")
    assert line.startswith(f"e.yaml:1: {message}")


def test_images_have_no_vocabulary(errors: Errors) -> None:
    text = f"{IMAGES}model: {{encoder: convolution}}\n"
    (line,) = errors(text, "data.vocabulary.model=[a.model, b.model]")
    assert line.endswith(
        "vocabulary.model: images have no vocabulary; give only the model of the target"
    )
