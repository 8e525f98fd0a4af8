"""Multi-head attention against torch's module with equal weights."""

from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from nmt.model.layers.multi_head import (
    CrossAttention,
    Heads,
    SelfAttention,
    explicit_attention,
    fused_attention,
)
from tests.model.numpy_formulas import draw
from tests.model.torch_transformer import cross_attention_weights, self_attention_weights

WIDTH, HEADS = 12, 3
MASK_BS = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]

with_and_without_gradients = pytest.mark.parametrize(
    "gradients", [True, False], ids=["with gradients", "without"]
)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def _torchs(weights: dict[str, Tensor], key_size: int = WIDTH) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(
        WIDTH, HEADS, kdim=key_size, vdim=key_size, batch_first=True, dtype=torch.float64
    )
    theirs.load_state_dict(weights)
    return theirs


@with_and_without_gradients
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_equals_torch(causal: bool, gradients: bool) -> None:
    ours = draw(SelfAttention(WIDTH, HEADS))
    theirs = _torchs(self_attention_weights(ours))
    inputs_btd = _random(3, 5, WIDTH)
    hidden_tt = torch.ones(5, 5).triu(1).bool() if causal else None
    padding_bt = None if causal else ~MASK_BS
    expected_btd, _ = theirs(
        *[inputs_btd] * 3, key_padding_mask=padding_bt, attn_mask=hidden_tt, need_weights=False
    )
    with torch.set_grad_enabled(gradients):
        _close(ours(inputs_btd, None if causal else MASK_BS, causal=causal), expected_btd)


@with_and_without_gradients
@pytest.mark.parametrize("key_size", [WIDTH, 7])
def test_cross_attention_and_weights_equal_torch(key_size: int, gradients: bool) -> None:
    ours = draw(CrossAttention(WIDTH, key_size, WIDTH, HEADS))
    theirs = _torchs(cross_attention_weights(ours), key_size)
    query_bqd, states_bse = _random(3, 4, WIDTH), _random(3, 5, key_size)
    expected_bqd, expected_bqs = theirs(
        query_bqd, states_bse, states_bse, key_padding_mask=~MASK_BS
    )
    with torch.set_grad_enabled(gradients):
        memory = ours.prepare(states_bse)
        context_bqd, weights_bqs = ours.with_weights(query_bqd, memory, MASK_BS)
        _close(ours(query_bqd, memory, MASK_BS), expected_bqd)
    _close(context_bqd, expected_bqd)
    _close(weights_bqs, expected_bqs)


def test_query_width_may_differ() -> None:
    ours = draw(CrossAttention(5, 7, WIDTH, HEADS))
    query_bqd, states_bse = _random(3, 4, 5), _random(3, 5, 7)
    query, key = ours.q_proj(query_bqd), ours.kv_proj(states_bse)[:, :, :WIDTH]
    value = ours.kv_proj(states_bse)[:, :, WIDTH:]
    contexts, weights = [], []
    for head in torch.arange(WIDTH).chunk(HEADS):
        energies_bqs = query[:, :, head] @ key[:, :, head].mT / sqrt(WIDTH // HEADS)
        masses_bqs = energies_bqs.exp() * MASK_BS[:, None]
        weights.append(masses_bqs / masses_bqs.sum(-1, keepdim=True))
        contexts.append(weights[-1] @ value[:, :, head])
    context_bqd, weights_bqs = ours.with_weights(query_bqd, ours.prepare(states_bse), MASK_BS)
    _close(context_bqd, ours.out_proj(torch.cat(contexts, dim=-1)))
    _close(weights_bqs, torch.stack(weights).mean(0))


@with_and_without_gradients
def test_cached_steps_equal_causal_attention(gradients: bool) -> None:
    ours = draw(SelfAttention(WIDTH, HEADS))
    inputs_ntd = _random(4, 6, WIDTH)
    none = torch.empty(4, HEADS, 0, WIDTH // HEADS, dtype=torch.float64)
    past = Heads(none, none)
    expected_ntd = ours(inputs_ntd, causal=True)
    with torch.set_grad_enabled(gradients):
        for t in range(6):
            output_nd, past = ours.step(inputs_ntd[:, t], past)
            _close(output_nd, expected_ntd[:, t])
            assert past.keys_bhsw.shape == (4, HEADS, t + 1, WIDTH // HEADS)


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_equals_explicit_attention(causal: bool) -> None:
    given = [_random(3, HEADS, 5, 4).requires_grad_() for _ in range(3)]
    mask_bs, towards_bqd = None if causal else MASK_BS, _random(3, 5, WIDTH)
    found = []
    memory = Heads(*given[1:])
    for context_bqd in (
        fused_attention(given[0], memory, mask_bs, causal),
        explicit_attention(given[0], memory, mask_bs, causal)[0],
    ):
        gradients = torch.autograd.grad((context_bqd * towards_bqd).sum(), given)
        found.append((context_bqd, *gradients))
        if not causal:  # The keys and values of padding get no gradient.
            assert not any(part.transpose(1, 2)[~MASK_BS].any() for part in gradients[1:])
    for one, other in zip(*found, strict=True):
        _close(one, other)


@with_and_without_gradients
def test_blocks_of_padding_do_not_give_nan(gradients: bool) -> None:
    """Fused kernels process the source in blocks, some of which consist of padding."""
    mask_bs = torch.arange(1100) < torch.tensor([1100, 1])[:, None]
    ours = draw(CrossAttention(WIDTH, WIDTH, WIDTH, HEADS))
    query_bqd, states_bse = _random(2, 3, WIDTH), _random(2, 1100, WIDTH).requires_grad_()
    with torch.set_grad_enabled(gradients):
        context_bqd = ours(query_bqd, ours.prepare(states_bse), mask_bs)
    only_1qd = ours.out_proj(ours.kv_proj(states_bse[1:, :1])[:, :, WIDTH:])
    _close(context_bqd[1:], only_1qd.expand(1, 3, WIDTH))
    if gradients:
        (gradient_bse,) = torch.autograd.grad(context_bqd.sum(), states_bse)
        assert gradient_bse.isfinite().all()
        assert gradient_bse[1, 1:].abs().sum() == 0


def test_attention_dropout_only_in_training() -> None:
    torch.manual_seed(1)
    ours = draw(SelfAttention(WIDTH, HEADS, dropout=0.5))
    inputs_btd = _random(3, 5, WIDTH)
    without = SelfAttention(WIDTH, HEADS).double()
    without.load_state_dict(ours.state_dict())
    _close(ours.eval()(inputs_btd), without(inputs_btd))
    dropped_btd = torch.stack([ours.train()(inputs_btd) for _ in range(2)])
    assert not torch.equal(dropped_btd[0], dropped_btd[1])
    torch.manual_seed(2)
    mean_btd = ours(inputs_btd.repeat(4000, 1, 1)).view(4000, *inputs_btd.shape).mean(0)
    torch.testing.assert_close(mean_btd, without(inputs_btd), rtol=0, atol=0.15)


@pytest.mark.parametrize(("heads", "fewer"), [(8, 6), (5, 4), (24, 12)])
def test_heads_that_do_not_divide_the_width_are_rejected(heads: int, fewer: int) -> None:
    message = f"heads: {heads} does not divide the width 12; use {fewer}, or a width that is a"
    with pytest.raises(ValueError, match=message):
        SelfAttention(WIDTH, heads)
    with pytest.raises(ValueError, match=message):
        CrossAttention(3, 4, WIDTH, heads)


def test_projections_have_glorot_initialization_and_zero_bias() -> None:
    torch.manual_seed(1)
    ours = CrossAttention(50, 30, 200, 4)
    for weight, inputs in (
        (ours.q_proj.weight, 50),
        (ours.kv_proj.weight, 30),
        (ours.out_proj.weight, 200),
    ):
        bound = sqrt(6 / (200 + inputs))
        assert bound * 0.98 < float(weight.detach().abs().max()) <= bound
        assert float(weight.std().detach()) == pytest.approx(bound / sqrt(3), rel=0.03)
    assert all(not layer.bias.any() for layer in (ours.q_proj, ours.kv_proj, ours.out_proj))
