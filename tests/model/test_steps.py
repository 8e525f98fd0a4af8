"""Teacher forcing equals single steps, for every decoder, mechanism, score and encoder."""

import pytest
import torch
from torch.autograd import backward

from nmt.config.schema import ModelConfig
from nmt.model.interfaces import Decoder
from nmt.model.layers.recurrent import LSTMLayer
from tests.model.small import (
    build,
    encoders,
    every_part_once,
    follow,
    gradients,
    models,
    outputs_by_steps,
    text,
)


@pytest.mark.parametrize("model", models() + encoders())
def test_teacher_forcing_equals_steps(model: ModelConfig) -> None:
    built, given = build(model), text()
    towards_btd = torch.randn(3, 4, built.decoder.output_size, dtype=torch.float64)
    at_once_btd = built(given.source_bs, given.source_mask_bs, given.target_bt).output_btd
    backward((at_once_btd * towards_btd).sum())
    at_once = gradients(built)
    stepwise_btd = outputs_by_steps(built, given)
    backward((stepwise_btd * towards_btd).sum())
    torch.testing.assert_close(at_once_btd, stepwise_btd, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(at_once, gradients(built), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("model", every_part_once())
def test_forward_equals_the_default_loop_over_steps(model: ModelConfig) -> None:
    built, given = build(model), text()
    encoded = built.encode(given.source_bs, given.source_mask_bs)
    embedded_btm = built.target_embedding(given.target_bt)
    found = built.decoder(embedded_btm, encoded, need_weights=True)
    expected = Decoder.forward(built.decoder, embedded_btm, encoded, need_weights=True)
    torch.testing.assert_close(found.output_btd, expected.output_btd, rtol=1e-10, atol=1e-12)
    assert (found.weights_bts is not None) == built.decoder.has_attention
    torch.testing.assert_close(found.weights_bts, expected.weights_bts, rtol=1e-10, atol=1e-12)
    without = built.decoder(embedded_btm, encoded)
    torch.testing.assert_close(without.output_btd, found.output_btd, rtol=1e-10, atol=1e-12)
    assert without.weights_bts is None


@pytest.mark.parametrize("model", every_part_once())
def test_steps_return_attention_weights_as_the_decoder_states(model: ModelConfig) -> None:
    built, given = build(model), text()
    memory, state = built.start(given.source_bs, given.source_mask_bs)
    prediction = built.step(given.target_bt[:, 0], memory, state)
    assert (prediction.weights_ns is not None) == built.decoder.has_attention


@pytest.mark.parametrize("model", every_part_once())
def test_steps_give_the_log_probabilities_of_training(model: ModelConfig) -> None:
    built, given = build(model), text()
    outputs_btd = built(given.source_bs, given.source_mask_bs, given.target_bt).output_btd
    weight_vd, bias_v = built.output_weights
    logits_btv = outputs_btd @ weight_vd.T + bias_v
    expected_btv = (logits_btv.exp() / logits_btv.exp().sum(-1, keepdim=True)).log()
    log_probs, _ = follow(built, given, *built.start(given.source_bs, given.source_mask_bs))
    told_btv = torch.stack(log_probs, dim=1).double()  # float32 in any case
    torch.testing.assert_close(told_btv, expected_btv, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", every_part_once())
def test_validation_computes_the_same_as_training(model: ModelConfig) -> None:
    """Without gradients, `forward` gives equal results; those of LSTM layers but for rounding."""
    built, given = build(model, torch.float32), text()
    inputs = (given.source_bs, given.source_mask_bs, given.target_bt)
    with torch.no_grad():
        outputs_btd = built(*inputs).output_btd
    found_btd = built(*inputs).output_btd.detach()
    has_lstm = any(isinstance(part, LSTMLayer) for part in built.modules())
    rtol, atol = (1e-5, 1e-6) if has_lstm else (0.0, 0.0)
    torch.testing.assert_close(found_btd, outputs_btd, rtol=rtol, atol=atol)


@pytest.mark.parametrize("model", models() + encoders())
def test_every_parameter_receives_a_gradient(model: ModelConfig) -> None:
    """Require a gradient with one of a few draws, because a rectified unit may be inactive."""
    still = _without_gradient(model, seed=1)
    for seed in (2, 3, 4):
        still = still and still & _without_gradient(model, seed)
    assert still == set()


def _without_gradient(model: ModelConfig, seed: int) -> set[str]:
    built, given = build(model, seed=seed).train(), text()
    outputs_btd, auxiliary, *_ = built(given.source_bs, given.source_mask_bs, given.target_bt)
    log_probs_bt = built.output_layer(outputs_btd).log_softmax(dim=-1)[:, :, 7]
    nll_bt = -log_probs_bt.masked_fill(~given.target_mask_bt, 0.0)
    loss = nll_bt.sum()
    if auxiliary:
        penalty = built.decoder.auxiliary_loss(auxiliary, nll_bt.detach(), given.target_mask_bt)
        loss = loss if penalty is None else loss + penalty
    backward(loss)
    found = gradients(built)
    names = [name for name, _ in built.named_parameters()]
    return {name for name in names if name not in found or found[name].abs().max() <= 1e-9}
