"""What stands beside a picture changes nothing: at a real model's widths not a bit of it."""

from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from nmt.config.schema import ModelConfig
from nmt.data.corpus import read_lines
from nmt.data.pictures import PictureSizes
from nmt.data.vocabulary import Vocabulary
from nmt.model.build import build_model
from nmt.model.devices import use_onednn_for_products
from nmt.registry import Choice
from nmt.search.options import SearchOptions
from nmt.search.translation import Translation
from nmt.search.translator import Translator
from tests.commands import PHRASES

SIZES = PictureSizes(size=64)


def make_translator(attention: str) -> Translator:
    """An untrained captioner: what it says means nothing, and hangs on every bit."""
    torch.manual_seed(7)
    vocabulary = Vocabulary.train(read_lines(PHRASES.with_suffix(".en")), size=200)
    config = ModelConfig(
        embedding_size=64,
        encoder=Choice("convolution", {"channels": 16}),
        decoder=Choice("bahdanau", {"hidden_size": 128}),
        attention=Choice(attention),
    )
    model = build_model(config, SIZES, len(vocabulary)).eval().requires_grad_(False)
    options = SearchOptions(Choice("average"), Choice("none"), max_length=8)
    return Translator([model], SIZES, vocabulary, options, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Twenty pictures of noise."""
    folder, generator = tmp_path_factory.mktemp("noise"), np.random.default_rng(1)
    for number in range(20):
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(20)]


def bits(translation: Translation) -> tuple[object, ...]:
    assert translation.attention is not None
    scores, weights = translation.piece_scores, translation.attention.tolist()
    return translation.text, translation.score, scores, weights


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_neighbours_change_no_bit_of_a_caption(
    attention: str, beam_size: int, names: list[str]
) -> None:
    if not use_onednn_for_products():
        pytest.skip("products do not go to oneDNN on this CPU, so rows may round differently")
    translator = make_translator(attention)
    alone = translator.translate(names, beam_size=beam_size, batch_sentences=1)
    assert len({bits(one)[1] for one in alone}) == len(names)
    shuffled = Random(1).sample(range(len(names)), len(names))
    for together in (7, 64):
        mixed = translator.translate(
            [names[number] for number in shuffled], beam_size=beam_size, batch_sentences=together
        )
        for position, number in enumerate(shuffled):
            assert bits(mixed[position]) == bits(alone[number]), names[number]
