"""The same bits alone, among seven, among sixty-four and shuffled, at a real model's widths."""

from random import Random

import pytest
import torch

from nmt.config.schema import ModelConfig
from nmt.data.corpus import read_lines
from nmt.data.vocabulary import Vocabulary
from nmt.model.build import build_model
from nmt.model.devices import use_onednn_for_products
from nmt.registry import Choice
from nmt.search.options import SearchOptions
from nmt.search.translation import Translation
from nmt.search.translator import Translator
from tests.commands import PHRASES


def texts() -> list[str]:
    return list(read_lines(PHRASES.with_name("phrases.de")))[:40]


def make_translator(decoder: str, score: str) -> Translator:
    """An untrained model: what it says means nothing, and hangs on every bit."""
    torch.manual_seed(7)
    vocabulary = Vocabulary.train(texts(), size=200)
    config = ModelConfig(
        embedding_size=256,
        encoder=Choice("bilstm", {"hidden_size": 256, "layers": 2}),
        decoder=Choice(decoder, {"hidden_size": 512}),
        attention=Choice("global"),
        score=Choice(score),
    )
    model = build_model(config, len(vocabulary), len(vocabulary)).eval().requires_grad_(False)
    options = SearchOptions(Choice("average"), Choice("none"), max_length=8)
    return Translator([model], vocabulary, vocabulary, options, device=torch.device("cpu"))


def bits(translation: Translation) -> tuple[object, ...]:
    assert translation.attention is not None
    return (
        translation.text,
        translation.score,
        translation.piece_scores,
        translation.attention.tolist(),
    )


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize(("decoder", "score"), [("bahdanau", "additive"), ("luong", "general")])
def test_neighbours_change_no_bit(decoder: str, score: str, beam_size: int) -> None:
    if not use_onednn_for_products():
        pytest.skip("products do not go to oneDNN on this CPU, so rows may round differently")
    translator, sources = make_translator(decoder, score), texts()
    alone = translator.translate(sources, beam_size=beam_size, batch_sentences=1)
    shuffled = Random(1).sample(range(len(sources)), len(sources))
    for together in (7, 64):
        mixed = translator.translate(
            [sources[i] for i in shuffled], beam_size=beam_size, batch_sentences=together
        )
        for position, number in enumerate(shuffled):
            assert bits(mixed[position]) == bits(alone[number]), sources[number]
