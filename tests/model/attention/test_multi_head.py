"""Multi-head attention of recurrent decoders against torch's module with equal weights."""

import pytest
import torch
from torch import nn

from nmt.errors import UserError
from nmt.model.attention.mechanisms.multi_head import MultiHeadAttention
from nmt.model.interfaces import Encoded, LayerStates
from nmt.registry import MECHANISMS, ComponentConfig
from tests.model.numpy_formulas import draw
from tests.model.torch_transformer import cross_attention_weights

KEYS = 8
MASK_BS = torch.arange(4) < torch.tensor([4, 2])[:, None]


def _source() -> Encoded:
    torch.manual_seed(4)
    states_bse = torch.randn(2, 4, KEYS, dtype=torch.float64) * MASK_BS[:, :, None]
    return Encoded(states_bse, MASK_BS, states_bse[:, 0], LayerStates(states_bse[:, :1], None))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_context_and_weights_equal_torch_multihead_attention(heads: int) -> None:
    ours, source = draw(MultiHeadAttention(KEYS, KEYS, heads=heads)), _source()
    theirs = nn.MultiheadAttention(KEYS, heads, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(cross_attention_weights(ours.attention))
    query_bqd = torch.randn(2, 3, KEYS, dtype=torch.float64)
    expected = theirs(query_bqd, *[source.states_bse] * 2, key_padding_mask=~MASK_BS)
    reading, _ = ours(query_bqd, ours.prepare(source), ())
    found = (reading.context_bqe, reading.weights_bqs)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_context_is_as_wide_as_an_annotation() -> None:
    ours, source = draw(MultiHeadAttention(3, KEYS, heads=2)), _source()
    query_nd = torch.randn(6, 3, dtype=torch.float64)
    seen = ours.attend(query_nd, ours.prepare(source), ())
    assert seen.context_ne.shape == (6, KEYS)
    assert seen.weights_ns.shape == (6, 4)


def test_heads_that_do_not_divide_the_annotation_are_rejected() -> None:
    with pytest.raises(
        UserError, match="'multi_head': heads: 5 does not divide the width 8; use 4"
    ):
        MECHANISMS.build(ComponentConfig("multi_head", {"heads": 5}), 3, KEYS)
