"""Untrained models of a real width, and that neighbours change no bit of what they say."""

from random import Random

import pytest
import torch

from nmt.config.schema import ModelConfig
from nmt.config.search_options import SearchOptions
from nmt.cpu_tuning import use_onednn_for_products
from nmt.data.corpus import read_lines
from nmt.data.images import ImageSize
from nmt.data.vocabulary import Vocabulary
from nmt.model.build import build_model
from nmt.search.translation import Translation
from nmt.search.translator import Translator
from tests.commands import PHRASES


def phrases() -> list[str]:
    return list(read_lines(PHRASES.with_name("phrases.de")))[:40]


def untrained(config: ModelConfig, pictures: ImageSize | None = None) -> Translator:
    """An untrained model: what it says means nothing, and hangs on every bit."""
    torch.manual_seed(7)
    vocabulary = Vocabulary.train(
        phrases() if pictures is None else read_lines(PHRASES.with_suffix(".en")), size=200
    )
    pieces = len(vocabulary) if pictures is None else pictures
    model = build_model(config, pieces, len(vocabulary)).eval().requires_grad_(False)
    options = SearchOptions(max_length=8)
    source = vocabulary if pictures is None else pictures
    return Translator([model], source, vocabulary, options, device=torch.device("cpu"))


def bits(translation: Translation) -> tuple[object, ...]:
    assert translation.attention is not None
    scores, weights = translation.piece_scores, translation.attention.tolist()
    return translation.text, translation.score, scores, weights


def assert_neighbours_change_no_bit(
    translator: Translator, sources: list[str], beam_size: int
) -> list[Translation]:
    """Compare translations alone with those in shuffled batches; returns the former."""
    if not use_onednn_for_products():
        pytest.skip("products do not go to oneDNN on this CPU, so rows may round differently")
    alone = translator.translate(sources, beam_size=beam_size, batch_sentences=1)
    shuffled = Random(1).sample(range(len(sources)), len(sources))
    for together in (7, 64):
        mixed = translator.translate(
            [sources[i] for i in shuffled], beam_size=beam_size, batch_sentences=together
        )
        for position, number in enumerate(shuffled):
            assert bits(mixed[position]) == bits(alone[number]), sources[number]
    return alone
