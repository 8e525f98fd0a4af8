"""What stands beside a sentence changes no bit of what a transformer says of it."""

from random import Random
from typing import Any

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

LAYERS = {"layers": 2, "heads": 4, "feed_forward_size": 256}
TRANSFORMER = Choice("transformer", LAYERS)
BILSTM = Choice("bilstm", {"hidden_size": 128})
LUONG = Choice("luong", {"hidden_size": 256})
GLOBAL, HEADS = Choice("global"), Choice("multi_head")


def _phrases() -> list[str]:
    return list(read_lines(PHRASES.with_name("phrases.de")))[:40]


def _translator(**parts: Choice) -> Translator:
    """An untrained model: what it says means nothing, and hangs on every bit."""
    torch.manual_seed(7)
    vocabulary = Vocabulary.train(_phrases(), size=200)
    config = ModelConfig(embedding_size=128, **parts)  # type: ignore[arg-type]
    model = build_model(config, len(vocabulary), len(vocabulary)).eval().requires_grad_(False)
    options = SearchOptions(Choice("average"), Choice("none"), max_length=8)
    return Translator([model], vocabulary, vocabulary, options, device=torch.device("cpu"))


def _bits(translation: Translation) -> tuple[Any, ...]:
    assert translation.attention is not None
    return (
        translation.text,
        translation.score,
        translation.piece_scores,
        translation.attention.tolist(),
    )


MODELS = {
    "transformer": {"encoder": TRANSFORMER, "decoder": TRANSFORMER},
    "bilstm and transformer": {"encoder": BILSTM, "decoder": TRANSFORMER},
    "transformer and luong by heads": {
        "encoder": TRANSFORMER,
        "decoder": LUONG,
        "attention": HEADS,
    },
}


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("parts", MODELS.values(), ids=MODELS.keys())
def test_neighbours_change_no_bit(parts: dict[str, Choice], beam_size: int) -> None:
    if not use_onednn_for_products():
        pytest.skip("products do not go to oneDNN on this CPU, so rows may round differently")
    translator, sources = _translator(**parts), _phrases()
    alone = translator.translate(sources, beam_size=beam_size, batch_sentences=1)
    shuffled = Random(1).sample(range(len(sources)), len(sources))
    for together in (7, 64):
        mixed = translator.translate(
            [sources[i] for i in shuffled], beam_size=beam_size, batch_sentences=together
        )
        for position, number in enumerate(shuffled):
            assert _bits(mixed[position]) == _bits(alone[number]), sources[number]
