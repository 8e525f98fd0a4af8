"""What stands beside a sentence changes no bit of what a transformer says of it."""

import pytest

from nmt.config.schema import ModelConfig
from nmt.registry import ComponentConfig

from .neighbours import assert_neighbours_change_no_bit, phrases, untrained

pytestmark = pytest.mark.slow  # models of a real width

LAYERS = {"layers": 2, "heads": 4, "feed_forward_size": 256}
TRANSFORMER = ComponentConfig("transformer", LAYERS)
BILSTM = ComponentConfig("bilstm", {"hidden_size": 128})
LUONG = ComponentConfig("luong", {"hidden_size": 256})
HEADS = ComponentConfig("multi_head")


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
def test_neighbours_change_no_bit(parts: dict[str, ComponentConfig], beam_size: int) -> None:
    config = ModelConfig(embedding_size=128, **parts)  # type: ignore[arg-type]
    assert_neighbours_change_no_bit(untrained(config), phrases(), beam_size)
