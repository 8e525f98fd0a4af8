"""Contract of all attention mechanisms with all scores."""

from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map_only

from nmt.config.schema import ModelConfig
from nmt.model.decoders.recurrent import RecurrentDecoder
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import MECHANISMS, ComponentConfig
from tests.model.small import (
    ADDITIVE,
    PIECES,
    WIDTH,
    build,
    choices,
    config,
    fits,
    follow,
    models,
    name_of,
    text,
)

every_model = pytest.mark.parametrize("model", models())


@every_model
def test_weights_are_a_distribution_over_real_positions(model: ModelConfig) -> None:
    built, given = build(model), text()
    mechanism: Any = getattr(built.decoder, "attention", None)
    _, weights = follow(built, given, *built.start(given.source_bs, given.source_mask_bs))
    for weights_bs in weights:
        if weights_bs is None:
            assert mechanism is None
            continue
        assert (weights_bs >= 0).all()
        assert weights_bs[~given.source_mask_bs].abs().sum() == 0
        if mechanism is None or mechanism.normalized:
            torch.testing.assert_close(weights_bs.sum(-1), torch.ones(3, dtype=torch.float64))
            assert weights_bs[2, 0] == 1  # a source of one token gets all attention


AT_ONCE = ComponentConfig("luong", {"hidden_size": WIDTH, "input_feeding": False})
models_at_once = [
    pytest.param(model, id=name_of(attention))
    for attention in choices(MECHANISMS)
    if fits(model := config(decoder=AT_ONCE, attention=attention, score=ADDITIVE))
]


@pytest.mark.parametrize("model", models_at_once)
def test_all_target_positions_at_once_equal_single_steps(model: ModelConfig) -> None:
    built, given = build(model), text()
    luong: Any = built.decoder
    encoded = built.encode(given.source_bs, given.source_mask_bs)
    embedded_btm = built.target_embedding(given.target_bt)
    at_once = luong(embedded_btm, encoded)
    one_by_one = RecurrentDecoder.forward(luong, embedded_btm, encoded)
    torch.testing.assert_close(at_once, one_by_one, rtol=1e-10, atol=1e-12)


def _repeat(tree: object, times: int) -> object:
    repeated: object = tree_map_only(
        torch.Tensor, lambda rows: rows.repeat_interleave(times, dim=0), tree
    )
    return repeated


@every_model
def test_shared_memory_equals_one_copy_per_hypothesis(model: ModelConfig) -> None:
    hypotheses, built, given = 3, build(model), text()
    memory, state = built.start(given.source_bs, given.source_mask_bs)
    copied, shared_state = _repeat(memory, hypotheses), _repeat(state, hypotheses)
    own_state = shared_state
    for number in range(3):
        # Neighbors continue differently, so that mixed-up rows are noticed.
        tokens_n = (torch.arange(9) * (number + 2) + number) % PIECES
        shared = built.step(tokens_n, memory, shared_state)
        own = built.step(tokens_n, copied, own_state)
        torch.testing.assert_close(shared, own, rtol=1e-5, atol=1e-6)  # log_probs are float32
        torch.testing.assert_close(
            (shared.weights_ns, shared.state), (own.weights_ns, own.state), rtol=1e-10, atol=1e-12
        )
        shared_state, own_state = shared.state, own.state


def _count_prepare(built: Seq2Seq, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls = [0]
    score: Any = built.get_submodule("decoder.attention.score")
    prepare = score.prepare

    def counted(states_bse: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        keys_bsa: torch.Tensor = prepare(states_bse)
        return keys_bsa

    monkeypatch.setattr(score, "prepare", counted)
    return calls


@every_model
def test_keys_are_computed_once_per_sentence(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, given = build(model), text()
    if not hasattr(getattr(built.decoder, "attention", None), "score"):
        return
    calls = _count_prepare(built, monkeypatch)
    built(given.source_bs, given.source_mask_bs, given.target_bt)
    assert calls == [1]
    follow(built, given, *built.start(given.source_bs, given.source_mask_bs))
    assert calls == [2]
