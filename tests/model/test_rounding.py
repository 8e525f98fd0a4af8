"""Every decoder with its weights in 8-bit integers."""

import pytest
import torch

from nmt.config.schema import ModelConfig
from nmt.model.layers.int8 import Int8Linear
from tests.model.small import ADDITIVE, GLOBAL, assemblies, build, follow, text

DECODERS = [
    parameter
    for parameter in assemblies(decoder_changes=0, scores=[ADDITIVE])
    if parameter.values[0].attention == GLOBAL
]


@pytest.mark.parametrize("model", DECODERS)
def test_every_decoder_says_nearly_the_same_in_integers(model: ModelConfig) -> None:
    given, said = text(), []
    for rounds in (False, True):
        built = build(model, torch.float32).eval()
        if rounds:
            built.fix_products(Int8Linear)
        with torch.inference_mode():
            begun = built.start(given.source_bs, given.source_mask_bs)
            log_probs, _ = follow(built, given, *begun)
        said.append(torch.stack(log_probs, dim=1))
    exact_btv, rounded_btv = said
    difference = (exact_btv - rounded_btv).abs().max()
    assert 1e-4 < difference < 0.2, "equal results would mean that nothing was rounded"
