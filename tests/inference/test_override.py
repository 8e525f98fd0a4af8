"""Attention weights that replace those of a model, compared with masks and its own weights."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.inference.compile import compile_model
from nmt.inference.override import override_attention
from nmt.registry import ComponentConfig
from tests.model.small import ADDITIVE, WIDTH, build, config, text

RECURRENT = {"hidden_size": WIDTH}
MULTI_HEAD = ComponentConfig("multi_head", {"heads": 2})
MODELS = {
    "bahdanau": config(decoder=ComponentConfig("bahdanau", RECURRENT), score=ADDITIVE),
    "gated": config(
        decoder=ComponentConfig("luong", RECURRENT),
        attention=ComponentConfig("soft", {"gate": True}),
    ),
    "heads": config(decoder=ComponentConfig("gnmt", RECURRENT), attention=MULTI_HEAD),
    "transformer": config(
        decoder=ComponentConfig("transformer", {"layers": 2, "heads": 3, "feed_forward_size": 16})
    ),
}
NOT_POSSIBLE = {
    "local_p": config(
        decoder=ComponentConfig("bahdanau", RECURRENT), attention=ComponentConfig("local_p")
    ),
    "lstmn": config(decoder=ComponentConfig("lstmn", RECURRENT)),
    "plain": config(decoder=ComponentConfig("plain", RECURRENT)),
}


def _start(name: str) -> tuple[Any, Any, Any, Tensor]:
    model, inputs = compile_model(build({**MODELS, **NOT_POSSIBLE}[name])), text()
    memory, state = model.start(inputs.source_bs, inputs.source_mask_bs)
    return model, memory, state, inputs.source_mask_bs


@pytest.mark.parametrize("name", MODELS)
def test_all_weight_on_a_position_equals_a_mask_of_the_others(name: str) -> None:
    model, memory, state, mask_bs = _start(name)
    assert model.can_override_attention(memory)
    weights_bs = torch.zeros(mask_bs.shape, dtype=torch.float64)
    weights_bs[0, 4] = weights_bs[1, 1] = weights_bs[2, 0] = 1.0
    given_b = torch.tensor([True, True, False])
    tokens_b = torch.tensor([3, 5, 2])
    changed = model.step(tokens_b, override_attention(memory, weights_bs, given_b), state)
    masked = model.step(tokens_b, memory._replace(mask_bs=weights_bs > 0), state)
    torch.testing.assert_close(changed.log_probs_nv, masked.log_probs_nv, rtol=1e-6, atol=1e-6)
    own = model.step(tokens_b, memory, state)
    assert (changed.log_probs_nv[:2] - own.log_probs_nv[:2]).abs().amax(1).min() > 5e-5
    # The sentence whose attention is not set keeps every bit.
    assert changed.log_probs_nv[2].equal(own.log_probs_nv[2])


@pytest.mark.parametrize("name", ["bahdanau", "gated"])
def test_own_weights_change_nothing(name: str) -> None:
    model, memory, state, _ = _start(name)
    tokens_b, given_b = torch.tensor([3, 5, 2]), torch.ones(3, dtype=torch.bool)
    own = model.step(tokens_b, memory, state)
    changed = override_attention(memory, own.weights_ns.double(), given_b)
    found = model.step(tokens_b, changed, state)
    torch.testing.assert_close(found.log_probs_nv, own.log_probs_nv, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NOT_POSSIBLE)
def test_attention_that_is_not_one_normalized_sum_cannot_be_set(name: str) -> None:
    model, memory, _, _ = _start(name)
    assert not model.can_override_attention(memory)
