"""Untrained models of a realistic width, and the comparison of their translations bit by bit."""

from random import Random
from typing import Any

import pytest
import torch

from nmt.config.schema import ModelConfig
from nmt.config.search_options import SearchOptions
from nmt.data.images import ImageSize
from nmt.data.text import read_lines
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.inference.linear import supports_prepacking
from nmt.model.build import build_model
from nmt.search.translation import Translation
from nmt.search.translator import Translator
from tests.commands import PHRASES
from tests.product_libraries import product_library

from .shortlists import random_shortlist


def phrases() -> list[str]:
    return list(read_lines(PHRASES.with_name("phrases.de")))[:40]


def untrained(
    config: ModelConfig, images: ImageSize | None = None, precision: str = "fp32"
) -> Translator:
    """Return an untrained translator, whose output depends on every bit of its scores.

    It has a shortlist of random tokens.
    """
    torch.manual_seed(7)
    vocabulary = SentencePieceVocabulary.train(
        phrases() if images is None else read_lines(PHRASES.with_suffix(".en")), size=200
    )
    source = vocabulary if images is None else images
    source_size = len(vocabulary) if images is None else images
    model = build_model(config, source_size, len(vocabulary)).eval().requires_grad_(False)
    options = SearchOptions(max_length=8)
    shortlist = random_shortlist(len(vocabulary), vocabulary)
    return Translator(
        [model],
        source,
        vocabulary,
        options,
        device=torch.device("cpu"),
        precision=precision,
        shortlist=lambda: shortlist,
    )


def assert_batches_change_no_bit(
    translator: Translator, sources: list[str], beam_size: int, **options: Any
) -> list[Translation]:
    """Compare translations in shuffled batches with those of single sentences; return these.

    Products are computed as in a command.
    """
    if not supports_prepacking():
        pytest.skip("rows may round differently on this CPU")
    options = {"beam_size": beam_size, **options}
    order = Random(1).sample(range(len(sources)), len(sources))
    shuffled = [sources[number] for number in order]
    with product_library("oneDNN"):
        alone = translator.translate(sources, batch_sentences=1, **options)
        for batch_sentences in (7, 64):
            found = translator.translate(shuffled, batch_sentences=batch_sentences, **options)
            for number, translation in zip(order, found, strict=True):
                assert _bits(translation) == _bits(alone[number]), sources[number]
    return alone


def _bits(translation: Translation) -> tuple[object, ...]:
    assert translation.attention is not None
    scores, weights = translation.piece_scores, [translation.attention.tolist()]
    if translation.alignment_weights is not None:
        weights.append(translation.alignment_weights.tolist())
    return translation.text, translation.score, scores, weights
