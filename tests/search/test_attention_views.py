"""Attention of each model and head, compared with that of search."""

from pathlib import Path

import pytest
import torch

from nmt.config.schema import ModelConfig
from nmt.registry import ComponentConfig
from nmt.search.translator import Translator

from .batch_invariance import phrases, untrained

LAYERS = ComponentConfig("transformer", {"layers": 2, "heads": 2, "feed_forward_size": 16})
TRANSFORMER = ModelConfig(embedding_size=16, encoder=LAYERS, decoder=LAYERS)
LUONG = ModelConfig(
    embedding_size=16,
    encoder=ComponentConfig("bilstm", {"hidden_size": 8}),
    decoder=ComponentConfig("luong", {"hidden_size": 16}),
    attention=ComponentConfig("multi_head", {"heads": 2}),
)
TEXTS = [phrases()[0], "", *phrases()[1:4]]


@pytest.mark.parametrize(
    ("config", "layers"), [(TRANSFORMER, 2), (LUONG, 1)], ids=["transformer", "luong"]
)
def test_mean_of_heads_is_the_attention_of_search(config: ModelConfig, layers: int) -> None:
    """The attention of a Transformer is that of its layer before the last one."""
    translator = untrained(config)
    found = translator.translate(TEXTS)
    views = translator.attention_views(found, [""], translator.options, heads=True)
    assert views[1] == {}
    for one, own in zip(found, views, strict=True):
        if not own:
            continue
        names = [f"layer {n} head {head}" for n in range(1, layers + 1) for head in (1, 2)]
        assert list(own) == ["", *names]
        assert one.attention is not None
        heads = [view.attention for name, view in own.items() if "layer 1" in name]
        mean_ts = torch.stack([weights for weights in heads if weights is not None]).mean(dim=0)
        torch.testing.assert_close(mean_ts, one.attention, rtol=1e-4, atol=1e-6)
        assert own[""].attention is not None
        torch.testing.assert_close(own[""].attention, one.attention, rtol=1e-4, atol=1e-6)


def test_each_model_of_an_ensemble_has_its_attention(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    ensemble = Translator.load(trained, trained)
    found = ensemble.translate(sources[:3])
    for one, own in zip(
        found, ensemble.attention_views(found, ["a", "b"], ensemble.options), strict=True
    ):
        assert list(own) == ["a", "b"]
        for view in own.values():
            assert view.source_pieces == one.source_pieces
            assert view.source_spans == one.source_spans
            assert view.attention is not None and one.attention is not None
            torch.testing.assert_close(view.attention, one.attention, rtol=1e-4, atol=1e-6)
