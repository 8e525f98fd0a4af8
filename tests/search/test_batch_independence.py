"""What stands beside a sentence changes nothing: at a real model's widths not a bit of it."""

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from nmt.config.schema import ModelConfig
from nmt.config.search_options import SamplingOptions
from nmt.registry import ComponentConfig
from nmt.search.translation import Translation
from nmt.search.translator import Translator

from .neighbours import assert_neighbours_change_no_bit, phrases, untrained
from .translations import LINE_ENDS, assert_equal

DATA = os.environ.get("NMT_DATA")
SIZES = {"hidden_size": 256, "layers": 2}
READER = ComponentConfig("lstmn", SIZES | {"direction": "both"})


def make_translator(decoder: str, attention: str, score: str) -> Translator:
    return untrained(
        ModelConfig(
            embedding_size=256,
            encoder=READER if decoder == "lstmn" else ComponentConfig("bilstm", SIZES),
            decoder=ComponentConfig(decoder, {"hidden_size": 512}),
            attention=ComponentConfig(attention),
            score=ComponentConfig(score),
        )
    )


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize(
    ("decoder", "attention", "score"),
    [
        ("bahdanau", "global", "additive"),
        pytest.param("luong", "global", "general", marks=pytest.mark.slow),
        pytest.param("luong", "local_m", "general", marks=pytest.mark.slow),
        pytest.param("luong", "local_p", "general", marks=pytest.mark.slow),
        pytest.param("lstmn", "global", "additive", marks=pytest.mark.slow),
    ],
)
def test_neighbours_change_no_bit(decoder: str, attention: str, score: str, beam_size: int) -> None:
    translator = make_translator(decoder, attention, score)
    assert_neighbours_change_no_bit(translator, phrases(), beam_size)


def _shuffled(translator: Translator, texts: list[str], **options: Any) -> list[Translation]:
    """Translations of shuffled texts, put back in order."""
    order = list(range(len(texts)))
    Random(5).shuffle(order)
    found = translator.translate([texts[row] for row in order], **options)
    return [found[order.index(row)] for row in range(len(texts))]


def _assert_neighbours_change_nothing(translator: Translator, texts: list[str], **o: Any) -> None:
    alone = translator.translate(texts, batch_sentences=1, **o)
    for sentences in (7, 64):
        assert_equal(translator.translate(texts, batch_sentences=sentences, **o), alone)
        assert_equal(_shuffled(translator, texts, batch_sentences=sentences, **o), alone)


@pytest.mark.parametrize("beam_size", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_neighbours_change_no_translation(
    beam_size: int, translator: Translator, sources: list[str]
) -> None:
    texts = [*sources[:20], "", " ".join(sources[:3]), LINE_ENDS, "안녕하세요?", "x" * 40]
    _assert_neighbours_change_nothing(translator, texts, beam_size=beam_size, n_best=2)


@pytest.mark.slow
def test_neighbours_change_no_given_translations_score(
    translator: Translator, sources: list[str]
) -> None:
    texts, targets = sources[:30], sources[30:]
    alone = translator.score(texts, targets, batch_sentences=1)
    for sentences in (7, 64):
        assert_equal(translator.score(texts, targets, batch_sentences=sentences), alone)


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="NMT_DATA names no folder with multi30k/")
def test_neighbours_change_no_translation_of_a_caption(translator: Translator) -> None:
    file = Path(str(DATA)) / "multi30k" / "test_2016_flickr.de"
    texts = file.read_text(encoding="utf-8").split("\n")[:300]
    _assert_neighbours_change_nothing(translator, texts, beam_size=2, max_length=30)


@pytest.mark.slow
def test_drawing_repeats_with_its_seed_whatever_stands_beside(
    translator: Translator, sources: list[str]
) -> None:
    def draw(seed: int, **options: Any) -> list[Translation]:
        return translator.translate(sources[:20], sampling=SamplingOptions(seed=seed), **options)

    first = draw(1)
    assert_equal(draw(1), first)
    assert_equal(draw(1, batch_sentences=1), first)
    changed = ["", *sources[1:10], *["Gute Nacht, schlaf gut!"] * 9]
    other = translator.translate(changed, sampling=SamplingOptions(seed=1))
    assert_equal(other[1:10], first[1:10])
    assert [t.text for t in draw(2)] != [t.text for t in first]
    best = translator.translate(sources[:20], beam_size=1)
    boldest = translator.translate(sources[:20], sampling=SamplingOptions(top_k=1))
    assert [t.text for t in boldest] == [t.text for t in best]
