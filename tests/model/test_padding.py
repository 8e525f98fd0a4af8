"""Neither padding nor the neighbors in a batch change the results of a sentence."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.config.schema import ModelConfig
from nmt.model.seq2seq import Seq2Seq
from tests.model.small import (
    PIECES,
    Text,
    build,
    encoders,
    follow,
    gradients,
    models,
    text,
)

every_model = pytest.mark.parametrize("model", models() + encoders())
every_encoder = pytest.mark.parametrize("model", encoders())


def _with_other_padding(given: Text) -> Text:
    generator = torch.Generator().manual_seed(9)
    source_bs = torch.randint(0, PIECES, given.source_bs.shape, generator=generator)
    target_bt = torch.randint(0, PIECES, given.target_bt.shape, generator=generator)
    return given._replace(
        source_bs=source_bs.where(~given.source_mask_bs, given.source_bs),
        target_bt=target_bt.where(~given.target_mask_bt, given.target_bt),
    )


def _outcome(model: Seq2Seq, given: Text) -> dict[str, Any]:
    """Compute all results at real positions, gradients included."""
    encoded = model.encode(given.source_bs, given.source_mask_bs)
    outputs_btd = model.decoder(model.target_embedding(given.target_bt), encoded).output_btd
    logits_rv = model.output_layer(outputs_btd[given.target_mask_bt])
    backward(-logits_rv.log_softmax(-1)[:, 3].sum())
    memory, state = model.start(given.source_bs, given.source_mask_bs)
    log_probs, weights = follow(model, given, memory, state)
    return {
        "annotations": encoded.states_bse,
        "final state": encoded.final_state_bx,
        "layer states": [part for part in encoded.layer_states if part is not None],
        "logits": logits_rv,
        "log_probs": torch.stack(log_probs, dim=1)[given.target_mask_bt],
        "weights": None
        if weights[0] is None
        else torch.stack(weights, dim=1)[given.target_mask_bt],
        "gradients": gradients(model),
    }


def _same_bits(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@every_model
def test_padding_tokens_change_no_bit(model: ModelConfig) -> None:
    given = text()
    changed = _with_other_padding(given)
    assert not torch.equal(given.source_bs, changed.source_bs)
    assert not torch.equal(given.target_bt, changed.target_bt)
    _same_bits(_outcome(build(model), changed), _outcome(build(model), given))


def _fill_padding(mask_bs: Tensor, value: float) -> Callable[[Any, Any, Tensor], Tensor]:
    return lambda module, inputs, embedded: embedded.masked_fill(~mask_bs[:, :, None], value)


@every_encoder
def test_nan_in_embedded_padding_changes_no_bit(model: ModelConfig) -> None:
    given = text()
    outcomes = []
    for value in (0.0, float("nan"), float("inf"), 1e30):
        built = build(model)
        # The gradients of all parameters are compared too: a NaN could return as 0 x NaN.
        assert built.source_embedding is not None
        built.source_embedding.register_forward_hook(_fill_padding(given.source_mask_bs, value))
        outcomes.append(_outcome(built, given))
    for outcome in outcomes[1:]:
        _same_bits(outcome, outcomes[0])


@every_encoder
def test_annotations_are_zero_in_padding(model: ModelConfig) -> None:
    given = text()
    encoded = build(model).encode(given.source_bs, given.source_mask_bs)
    assert encoded.states_bse[~given.source_mask_bs].abs().sum() == 0
    assert (encoded.states_bse[given.source_mask_bs].abs() > 0).all()
    assert torch.equal(encoded.mask_bs, given.source_mask_bs)


def _alone(given: Text, row: int) -> Text:
    source, target = given.source_mask_bs[row].sum(), given.target_mask_bt[row].sum()
    return Text(
        given.source_bs[row : row + 1, :source],
        given.source_mask_bs[row : row + 1, :source],
        given.target_bt[row : row + 1, :target],
        given.target_mask_bt[row : row + 1, :target],
    )


@every_model
def test_longer_neighbors_do_not_change_a_sentence(model: ModelConfig) -> None:
    built, given = build(model), text()
    together_btd = built(given.source_bs, given.source_mask_bs, given.target_bt).output_btd
    for row in range(3):
        alone = _alone(given, row)
        alone_1td = built(alone.source_bs, alone.source_mask_bs, alone.target_bt).output_btd
        batch_1td = together_btd[row : row + 1, : alone_1td.size(1)]
        torch.testing.assert_close(alone_1td, batch_1td, rtol=1e-10, atol=1e-12)
