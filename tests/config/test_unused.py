"""A section that the assembled model does not use is a mistake."""

from pathlib import Path

import pytest

from nmt.config.loader import load_experiment
from nmt.registry import DECODERS, MECHANISMS
from tests.config.conftest import NEEDED, Complain, Read, Write
from tests.model.blind import BlindDecoder, UniformAttention


@pytest.fixture(autouse=True)
def _parts_without_others(own_parts: Path) -> None:
    DECODERS.register("blind")(BlindDecoder)
    MECHANISMS.register("uniform")(UniformAttention)


def test_a_decoder_without_attention_leaves_it_and_the_score_out(read: Read) -> None:
    model = read("model: {decoder: blind}").model
    assert model.attention is None
    assert model.score is None


def test_a_mechanism_without_a_score_leaves_it_out(read: Read) -> None:
    model = read("model: {attention: uniform}").model
    assert model.attention is not None
    assert model.score is None


@pytest.mark.parametrize("attention", ["global", "{type: global, coverage: true}"])
def test_attention_beside_a_decoder_without_is_a_mistake(
    complain: Complain, attention: str
) -> None:
    text = f"{NEEDED}model:\n  decoder: blind\n  attention: {attention}\n"
    assert complain(text) == [
        "e.yaml:5: model.attention: is given, but 'blind' uses no attention; remove it"
    ]


def test_a_score_that_nothing_asks_for_is_a_mistake(complain: Complain) -> None:
    assert complain(f"{NEEDED}model:\n  attention: uniform\n  score: dot\n") == [
        "e.yaml:5: model.score: is given, but 'uniform' uses no score; remove it"
    ]


def test_a_score_without_attention_is_a_mistake(complain: Complain) -> None:
    text = f"{NEEDED}model:\n  decoder: blind\n  score: dot\n"
    assert complain(text) == [
        "e.yaml:5: model.score: is given, but 'blind' uses no score; remove it"
    ]
    text = f"{NEEDED}model:\n  decoder: blind\n"
    (line,) = complain(text, "model.score.hidden_size=3")
    assert line.startswith("command line: model.score: is given")


def test_a_decoder_that_does_not_exist_hides_nothing_else(complain: Complain) -> None:
    lines = complain(f"{NEEDED}model:\n  decoder: blnd\n  score: doot\n")
    assert [line.partition(";")[0] for line in lines] == [
        "e.yaml:4: model.decoder: no decoder 'blnd'",
        "e.yaml:5: model.score: no attention score 'doot'",
    ]


@pytest.mark.parametrize("decoder", ["plain", "peeky"])
@pytest.mark.parametrize(("section", "given"), [("attention", "global"), ("score", "dot")])
def test_the_houses_decoders_without_attention_refuse_it_by_name(
    complain: Complain, decoder: str, section: str, given: str
) -> None:
    text = f"{NEEDED}model:\n  decoder: {decoder}\n  {section}: {given}\n"
    assert complain(text) == [
        f"e.yaml:5: model.{section}: is given, but '{decoder}' uses no {section}; remove it"
    ]


@pytest.mark.parametrize("decoder", ["plain", "peeky"])
def test_null_takes_back_the_score_of_an_included_file(write: Write, decoder: str) -> None:
    write(f"{NEEDED}model: {{score: dot}}\n", "base.yaml")
    file = write(f"include: base.yaml\nmodel: {{decoder: {decoder}, score: null}}\n")
    model = load_experiment(file).experiment.model
    assert (model.attention, model.score) == (None, None)
