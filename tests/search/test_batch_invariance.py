"""Translations do not depend on the batch: at realistic widths, not a bit of them."""

import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nmt.config.schema import ModelConfig
from nmt.data.images import ImageSize
from nmt.registry import ComponentConfig
from nmt.search.translation import Translation
from nmt.search.translator import Translator

from .batch_invariance import assert_batches_change_no_bit, phrases, untrained
from .translations import LINE_SEPARATOR, assert_equal

DATA = os.environ.get("NMT_DATA")
BILSTM = ComponentConfig("bilstm", {"hidden_size": 256, "layers": 2})
LSTMN = ComponentConfig("lstmn", {"hidden_size": 256, "layers": 2, "direction": "both"})


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
def test_batches_change_no_bit_of_recurrent_models(
    decoder: str, attention: str, score: str, beam_size: int
) -> None:
    config = ModelConfig(
        embedding_size=256,
        encoder=LSTMN if decoder == "lstmn" else BILSTM,
        decoder=ComponentConfig(decoder, {"hidden_size": 512}),
        attention=ComponentConfig(attention),
        score=ComponentConfig(score),
    )
    assert_batches_change_no_bit(untrained(config), phrases(), beam_size)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_batches_change_no_bit_with_a_shortlist(precision: str) -> None:
    config = ModelConfig(
        embedding_size=64,
        alignment_size=64,
        encoder=ComponentConfig("bilstm", {"hidden_size": 64}),
        decoder=ComponentConfig("bahdanau", {"hidden_size": 128}),
    )
    translator = untrained(config, precision=precision)
    found = assert_batches_change_no_bit(translator, phrases(), 5, shortlist=True)
    plain = translator.translate(phrases())
    assert sum(one.text != other.text for one, other in zip(found, plain, strict=True)) > 20


TRANSFORMER = ComponentConfig("transformer", {"layers": 2, "heads": 4, "feed_forward_size": 256})
TRANSFORMERS = {
    "transformer": {"encoder": TRANSFORMER, "decoder": TRANSFORMER},
    "bilstm and transformer": {
        "encoder": ComponentConfig("bilstm", {"hidden_size": 128}),
        "decoder": TRANSFORMER,
    },
    "transformer and luong with multi-head attention": {
        "encoder": TRANSFORMER,
        "decoder": ComponentConfig("luong", {"hidden_size": 256}),
        "attention": ComponentConfig("multi_head"),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("components", TRANSFORMERS.values(), ids=TRANSFORMERS.keys())
def test_batches_change_no_bit_of_transformers(
    components: dict[str, ComponentConfig], beam_size: int
) -> None:
    config = ModelConfig(embedding_size=128, **components)  # type: ignore[arg-type]
    assert_batches_change_no_bit(untrained(config), phrases(), beam_size)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """File names of twenty images of noise."""
    directory, generator = tmp_path_factory.mktemp("noise"), np.random.default_rng(1)
    for number in range(20):
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(directory / f"{number}.png")
    return [str(directory / f"{number}.png") for number in range(20)]


@pytest.mark.slow
@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_batches_change_no_bit_of_captions(
    attention: str, beam_size: int, images: list[str]
) -> None:
    config = ModelConfig(
        embedding_size=64,
        encoder=ComponentConfig("convolution", {"channels": 16}),
        decoder=ComponentConfig("bahdanau", {"hidden_size": 128}),
        attention=ComponentConfig(attention),
    )
    translator = untrained(config, ImageSize(size=64))
    alone = assert_batches_change_no_bit(translator, images, beam_size)
    assert len({one.score for one in alone}) == len(images)


def _translate_shuffled(
    translator: Translator, texts: list[str], **options: Any
) -> list[Translation]:
    """Translate texts in another order; return the translations in the given order."""
    order = list(range(len(texts)))
    Random(5).shuffle(order)
    found = translator.translate([texts[row] for row in order], **options)
    return [found[order.index(row)] for row in range(len(texts))]


def _assert_batches_change_nothing(
    translator: Translator, texts: list[str], **options: Any
) -> None:
    alone = translator.translate(texts, batch_sentences=1, **options)
    for sentences in (7, 64):
        together = translator.translate(texts, batch_sentences=sentences, **options)
        assert_equal(together, alone)
        shuffled = _translate_shuffled(translator, texts, batch_sentences=sentences, **options)
        assert_equal(shuffled, alone)


@pytest.mark.parametrize("beam_size", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_batches_change_no_translation(
    beam_size: int, translator: Translator, sources: list[str]
) -> None:
    texts = [*sources[:10], "", " ".join(sources[:3]), LINE_SEPARATOR, "안녕하세요?", "x" * 40]
    _assert_batches_change_nothing(translator, texts, beam_size=beam_size, n_best=min(beam_size, 2))


@pytest.mark.slow
def test_batches_change_no_score_of_given_targets(
    translator: Translator, sources: list[str]
) -> None:
    texts, targets = sources[:15], sources[45:]
    alone = translator.score(texts, targets, batch_sentences=1)
    for sentences in (7, 64):
        assert_equal(translator.score(texts, targets, batch_sentences=sentences), alone)


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="NMT_DATA does not name a directory with multi30k/")
def test_batches_change_no_translation_of_multi30k(translator: Translator) -> None:
    file = Path(str(DATA)) / "multi30k" / "test_2016_flickr.de"
    texts = file.read_text(encoding="utf-8").split("\n")[:300]
    _assert_batches_change_nothing(translator, texts, beam_size=2, max_length=30)


@pytest.mark.slow
def test_samples_depend_on_seed_and_line_number_alone(
    translator: Translator, sources: list[str]
) -> None:
    def sample(seed: int, **options: Any) -> list[Translation]:
        return translator.translate(sources[:20], sampling={"seed": seed}, **options)

    first = sample(1)
    assert_equal(sample(1), first)
    assert_equal(sample(1, batch_sentences=1), first)
    changed = ["", *sources[1:10], *["Gute Nacht, schlaf gut!"] * 9]
    other = translator.translate(changed, sampling={"seed": 1})
    assert_equal(other[1:10], first[1:10])
    assert [t.text for t in sample(2)] != [t.text for t in first]


@pytest.mark.slow
def test_sampling_from_the_top_token_equals_greedy_search(
    translator: Translator, sources: list[str]
) -> None:
    greedy = translator.translate(sources[:20], beam_size=1)
    sampled = translator.translate(sources[:20], sampling={"top_k": 1})
    assert [t.text for t in sampled] == [t.text for t in greedy]
