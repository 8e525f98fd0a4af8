"""Attention for word alignments against plain loops over float64, for every decoder."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.config.schema import ModelConfig
from nmt.inference.compile import compile_model
from nmt.inference.override import override_attention
from nmt.model.decoders.recurrent import RecurrentDecoder
from nmt.model.interfaces import align_read_tokens
from nmt.model.seq2seq import AlignedMemory, Seq2Seq
from nmt.registry import DECODERS, ComponentConfig
from tests.model.small import (
    ADDITIVE,
    WIDTH,
    build,
    config,
    every_part_once,
    gradients,
    outputs_by_steps,
    text,
)

LUONG = config(
    decoder=ComponentConfig("luong", {"hidden_size": WIDTH}), score=ADDITIVE, alignment_size=5
)
DECODER_MODELS = [
    pytest.param(one.values[0].model_copy(update={"alignment_size": 5}), id=one.id)
    for one in every_part_once()
    if one.id in DECODERS
]


def _by_loops(model: Seq2Seq) -> Tensor:
    """Return α_ts = softmax_s(v·tanh(W [o_{t+1}; y_t] + U h_s)), one number after another."""
    given, score = text(), dict(model.alignment.named_parameters()) if model.alignment else {}
    v, w, u = (
        score[f"score.{name}"].detach().numpy() for name in ("v_a", "query.weight", "key.weight")
    )
    # Step t + 1 reads token t + 1 of the targets, whose first one stands for <s>.
    embedded_btm = model.target_embedding(given.target_bt)
    queries_btx = torch.cat([outputs_by_steps(model, given), embedded_btm], dim=-1)
    outputs = queries_btx.detach().numpy()
    states = model.encode(given.source_bs, given.source_mask_bs).states_bse.detach().numpy()
    lengths = given.source_mask_bs.sum(1).tolist()
    weights = np.zeros((*outputs.shape[:2], states.shape[1]))
    for b, length in enumerate(lengths):
        for t in range(outputs.shape[1] - 1):
            energies = [
                float(v @ np.tanh(w @ outputs[b, t + 1] + u @ states[b, s])) for s in range(length)
            ]
            total = sum(map(np.exp, energies))
            weights[b, t, :length] = [np.exp(energy) / total for energy in energies]
    return torch.tensor(weights)


def _by_steps(model: Seq2Seq) -> tuple[Tensor, list[Tensor]]:
    """Return the weights that align the tokens, and the log-probabilities of each step."""
    given = text()
    memory, state = model.start(given.source_bs, given.source_mask_bs)
    alignment, log_probs = [], []
    for tokens_b in given.target_bt.unbind(1):
        prediction = model.step(tokens_b, memory, state)
        state = prediction.state
        log_probs.append(prediction.log_probs_nv)
        assert prediction.alignment_ns is not None
        alignment.append(prediction.alignment_ns)
    return align_read_tokens(torch.stack(alignment, dim=1)), log_probs


@pytest.mark.parametrize("model", DECODER_MODELS)
def test_weights_of_a_word_are_those_of_the_output_that_has_read_it(model: ModelConfig) -> None:
    built, given = build(model), text()
    output = built(given.source_bs, given.source_mask_bs, given.target_bt, need_weights=True)
    expected_bts = _by_loops(built)
    torch.testing.assert_close(output.alignment_bts, expected_bts, rtol=1e-10, atol=1e-12)
    assert (output.weights_bts is not None) == built.decoder.has_attention
    assert built(given.source_bs, given.source_mask_bs, given.target_bt).alignment_bts is None
    torch.testing.assert_close(_by_steps(built)[0], expected_bts, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", ["eager", "fused"])
def test_every_backend_of_the_recurrence_gives_the_same_weights(backend: Any) -> None:
    built, given = build(LUONG), text()
    assert isinstance(built.decoder, RecurrentDecoder)
    built.decoder.backend = backend
    assert built.decoder.uses_fused == (backend == "fused")
    output = built(given.source_bs, given.source_mask_bs, given.target_bt, need_weights=True)
    torch.testing.assert_close(output.alignment_bts, _by_loops(built), rtol=1e-10, atol=1e-12)


def test_the_last_token_has_no_weights() -> None:
    weights_bts = torch.rand(2, 3, 4)
    moved_bts = align_read_tokens(weights_bts)
    assert torch.equal(moved_bts[:, :2], weights_bts[:, 1:])
    assert not moved_bts[:, 2].any()
    assert not align_read_tokens(weights_bts[:, :1]).any()


def test_translations_and_alignments_learn_apart() -> None:
    built, given = build(LUONG), text()
    _, before = _by_steps(built)
    inputs = given.source_bs, given.source_mask_bs, given.target_bt
    backward(built(*inputs).output_btd.sum())
    assert not any(name.startswith("alignment.") for name in gradients(built))
    output = built(*inputs, need_weights=True)
    backward(output.alignment_bts[:, 0, 0].sum())
    own = {name for name, gradient in gradients(built).items() if gradient.any()}
    assert built.alignment is not None
    assert {f"alignment.{name}" for name, _ in built.alignment.named_parameters()} <= own
    # The query has no gradient but that of the embedding, and the keys have that of the encoder.
    assert {name.split(".")[0] for name in own} == {
        *("alignment", "encoder", "source_embedding", "target_embedding")
    }
    with torch.no_grad():
        for parameter in built.alignment.parameters():
            parameter.zero_()
    _, after = _by_steps(built)
    assert all(map(torch.equal, before, after))


def test_attention_can_be_set_and_leaves_the_keys_of_alignments() -> None:
    model, given = compile_model(build(LUONG)), text()
    memory, state = model.start(given.source_bs, given.source_mask_bs)
    assert isinstance(memory, AlignedMemory)
    assert model.can_override_attention(memory)
    weights_bs = torch.zeros(given.source_mask_bs.shape, dtype=torch.float64)
    weights_bs[:, 0] = 1.0
    changed = override_attention(memory, weights_bs, torch.tensor([True, True, False]))
    assert changed.alignment is memory.alignment
    tokens_b = torch.tensor([3, 5, 2])
    found, own = model.step(tokens_b, changed, state), model.step(tokens_b, memory, state)
    assert not torch.equal(found.log_probs_nv[:2], own.log_probs_nv[:2])
    assert torch.equal(found.log_probs_nv[2], own.log_probs_nv[2])


def test_size_is_the_number_of_added_columns() -> None:
    sizes = {
        size: sum(
            p.numel() for p in build(LUONG.model_copy(update={"alignment_size": size})).parameters()
        )
        for size in (None, 1, 6)
    }
    built = build(LUONG)
    width = built.decoder.output_size + built.target_embedding.weight.size(1)
    width += built.encoder.output_size + 1
    assert (sizes[1] - sizes[None], sizes[6] - sizes[None]) == (width, 6 * width)
