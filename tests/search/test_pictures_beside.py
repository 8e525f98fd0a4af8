"""What stands beside a picture changes nothing: at a real model's widths not a bit of it."""

import numpy as np
import pytest
from PIL import Image

from nmt.config.schema import ModelConfig
from nmt.data.images import ImageSize
from nmt.registry import ComponentConfig
from nmt.search.translator import Translator

from .neighbours import assert_neighbours_change_no_bit, untrained

SIZES = ImageSize(size=64)


def make_translator(attention: str) -> Translator:
    config = ModelConfig(
        embedding_size=64,
        encoder=ComponentConfig("convolution", {"channels": 16}),
        decoder=ComponentConfig("bahdanau", {"hidden_size": 128}),
        attention=ComponentConfig(attention),
    )
    return untrained(config, SIZES)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Twenty pictures of noise."""
    folder, generator = tmp_path_factory.mktemp("noise"), np.random.default_rng(1)
    for number in range(20):
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(20)]


@pytest.mark.slow
@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_neighbours_change_no_bit_of_a_caption(
    attention: str, beam_size: int, names: list[str]
) -> None:
    alone = assert_neighbours_change_no_bit(make_translator(attention), names, beam_size)
    assert len({one.score for one in alone}) == len(names)
