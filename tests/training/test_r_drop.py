"""R-Drop compared with its formulas in float64, by torch's own functions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, linear

from nmt.config.schema import ModelConfig
from nmt.data.batch import Batch, collate
from nmt.data.special_tokens import SpecialTokens
from nmt.model.build import build_model
from nmt.registry import ComponentConfig
from nmt.training.batch_loss import batch_loss
from nmt.training.loss import IGNORED, smoothed_cross_entropy
from nmt.training.r_drop import symmetric_divergence

WEIGHT = 3.0


def _symmetric(p_rv: Tensor, q_rv: Tensor) -> Tensor:
    """Return ½ KL(p‖q) + ½ KL(q‖p) of logits, summed over the rows."""
    p_rv, q_rv = p_rv.log_softmax(-1), q_rv.log_softmax(-1)
    options: dict[str, Any] = {"reduction": "sum", "log_target": True}
    return (kl_div(q_rv, p_rv, **options) + kl_div(p_rv, q_rv, **options)) / 2


def test_divergence_and_gradient_equal_those_of_torch() -> None:
    torch.manual_seed(1)
    logits_rv = (3 * torch.randn(8, 5, dtype=torch.float64)).requires_grad_()
    divergence_x, gradient_rv = symmetric_divergence(logits_rv.detach())
    for pair, value in enumerate(divergence_x):
        expected = _symmetric(logits_rv[2 * pair, None], logits_rv[2 * pair + 1, None])
        torch.testing.assert_close(value, expected)
    (expected_rv,) = torch.autograd.grad(_symmetric(logits_rv[::2], logits_rv[1::2]), logits_rv)
    torch.testing.assert_close(gradient_rv, expected_rv)


@pytest.mark.parametrize("chunk", [3, 64])
def test_chunks_and_ignored_rows_give_the_loss_of_all_logits(chunk: int) -> None:
    torch.manual_seed(2)
    outputs_rd, weight_vd, bias_v = inputs = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((14, 4), (6, 4), (6,))
    ]
    targets_r = torch.randint(6, (7,)).repeat_interleave(2)
    targets_r[4:6] = IGNORED
    loss, nll_r = smoothed_cross_entropy(
        outputs_rd,
        weight_vd,
        bias_v,
        targets_r,
        smoothing=0.1,
        chunk=chunk,
        ignores=True,
        consistency=WEIGHT,
    )
    found = torch.autograd.grad(loss, inputs)
    kept_r = targets_r != IGNORED
    logits_rv = linear(outputs_rd, weight_vd, bias_v)[kept_r]
    entropy = cross_entropy(logits_rv, targets_r[kept_r], label_smoothing=0.1, reduction="sum")
    expected = entropy + WEIGHT * _symmetric(logits_rv[::2], logits_rv[1::2])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        nll_r[kept_r], cross_entropy(logits_rv, targets_r[kept_r], reduction="none")
    )
    for one, other in zip(found, torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(one, other)


TRANSFORMER = {"layers": 1, "heads": 2, "feed_forward_size": 8, "dropout": 0.3}
SMALL = {"hidden_size": 8, "dropout": 0.3}
DECODERS = {
    "fused bahdanau": ("fused", ComponentConfig("bahdanau", {**SMALL})),
    "luong": ("eager", ComponentConfig("luong", {**SMALL})),
    "peeky": ("auto", ComponentConfig("peeky", {"hidden_size": 8})),
    "transformer": ("auto", ComponentConfig("transformer", TRANSFORMER)),
}


def _batch() -> Batch:
    special = SpecialTokens(0, 1, 2)
    sources, targets = [[4, 5, 6], [7]], [[5, 6], [8, 9, 4, 7]]
    return collate(list(map(np.array, sources)), list(map(np.array, targets)), special, special)


@pytest.mark.parametrize(("recurrence", "decoder"), DECODERS.values(), ids=DECODERS)
def test_loss_is_half_of_equation_4(recurrence: Any, decoder: ComponentConfig) -> None:
    torch.manual_seed(3)
    attends = decoder.type in ("bahdanau", "luong")
    config = ModelConfig(
        embedding_size=8,
        embedding_dropout=0.4,
        encoder=ComponentConfig("bilstm", {"hidden_size": 4}),
        decoder=decoder,
        attention=ComponentConfig("global") if attends else None,
        score=ComponentConfig("additive") if attends else None,
    )
    model = build_model(config, 11, 11, recurrence=recurrence).double().train()
    batch = _batch()
    torch.manual_seed(4)
    loss, nll = batch_loss(model, batch, smoothing=0.1, chunk=8, consistency=WEIGHT)
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)

    torch.manual_seed(4)
    passes = [
        model.output_layer(model(batch.source, batch.source_mask_bs, batch.target_in_bt)[0])
        for _ in range(2)
    ]
    first_rv, second_rv = (logits_btv[batch.target_mask_bt] for logits_btv in passes)
    assert not first_rv.isclose(second_rv).any()
    targets_r = batch.target_out_bt[batch.target_mask_bt]
    entropies = [
        cross_entropy(logits_rv, targets_r, label_smoothing=0.1, reduction="sum")
        for logits_rv in (first_rv, second_rv)
    ]
    expected = (sum(entropies) + WEIGHT * _symmetric(first_rv, second_rv)) / 2
    torch.testing.assert_close(loss, expected)
    plain = [cross_entropy(one, targets_r, reduction="sum") for one in (first_rv, second_rv)]
    torch.testing.assert_close(nll, (plain[0] + plain[1]) / 2)
    gradients = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
    for one, other in zip(found, gradients, strict=True):
        if one is not None or other is not None:
            torch.testing.assert_close(one, other)
