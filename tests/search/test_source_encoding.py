"""Annotations of sentences, compared with those of each sentence alone."""

from pathlib import Path

import pytest
import torch

from nmt.errors import UserError
from nmt.search.source_reader import TextReader
from nmt.search.translator import Translator


def test_annotations_are_those_of_the_encoder_in_the_order_of_the_texts(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    texts = [sources[5], "", sources[0], sources[17], sources[2]]
    encoding = translator.encode(iter(texts))
    assert isinstance(translator.reader, TextReader)
    vocabulary = translator.reader.vocabulary
    (model,) = translator.models
    assert len(encoding) == len(texts)
    assert encoding.annotations_bse.shape == (5, encoding.mask_bs.sum(1).max(), 48)
    for row, text in enumerate(texts):
        positions = int(encoding.mask_bs[row].sum())
        assert encoding.mask_bs[row, :positions].all()
        assert not encoding.annotations_bse[row, positions:].any()
        if not text:
            assert (positions, encoding.pieces[row]) == (0, ())
            continue
        assert encoding.pieces[row] == (*vocabulary.tokens(vocabulary.encode(text)), "</s>")
        source = torch.tensor([[*vocabulary.encode(text), vocabulary.eos]])
        alone = model._model.encode(source, torch.ones_like(source, dtype=torch.bool))
        torch.testing.assert_close(encoding.annotations_bse[row, :positions], alone.states_bse[0])
        single = translator.encode(text)
        assert torch.equal(single.annotations_bse[0], encoding.annotations_bse[row, :positions])
    # They are inputs of other models, which inference tensors could not be.
    torch.nn.Linear(48, 2)(encoding.annotations_bse).sum().backward()
    longest = encoding.mask_bs.size(1)
    assert repr(encoding) == f"SourceEncoding(5 sources, annotations 5 x {longest} x 48)"


def test_encoding_of_nothing_is_empty_and_an_ensemble_has_none(
    trained: Path, translator: Translator
) -> None:
    assert translator.encode([]).annotations_bse.shape == (0, 0, 48)
    assert translator.encode(["", " "]).pieces == ((), ())
    with pytest.raises(UserError, match="an ensemble has several encoders"):
        Translator.load(trained, trained).encode("x")


def test_call_returns_one_translation_per_text(translator: Translator, sources: list[str]) -> None:
    (expected,) = translator.translate(sources[0], beam_size=1)
    assert translator(sources[0], beam_size=1).text == expected.text
    assert [one.text for one in translator([sources[0]], beam_size=1)] == [expected.text]
