"""Scores with several heads against the formulas, one head at a time, in every mechanism."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward
from torch.nn.functional import cosine_similarity

from nmt.config.schema import ModelConfig
from nmt.errors import UserError
from nmt.inference.compile import compile_model
from nmt.inference.override import can_override
from nmt.model.attention.mechanism import AttentionMemory
from nmt.model.attention.mechanisms.global_attention import GlobalAttention
from nmt.model.build import build_model
from nmt.model.interfaces import Encoded, LayerStates
from nmt.registry import SCORES, ComponentConfig
from tests.model.numpy_formulas import draw
from tests.model.small import (
    PIECES,
    WIDTH,
    build,
    config,
    follow,
    gradients,
    outputs_by_steps,
    text,
)

HEADS, SIZE = 3, 6
PART = SIZE // HEADS


def _score(name: str) -> Any:
    return draw(SCORES.build(ComponentConfig(name, {"heads": HEADS}), SIZE, SIZE))


def _energy(score: Any, name: str, head: int, query_d: Tensor, position: int, key_e: Tensor) -> Any:
    """Compute the energy of one head for one query and one annotation."""
    own = slice(head * PART, (head + 1) * PART)
    match name:
        case "dot":
            return query_d[own] @ key_e[own]
        case "scaled_dot":
            return query_d[own] @ key_e[own] / PART**0.5
        case "cosine":
            similarity = cosine_similarity(query_d[own], key_e[own], dim=0)
            return score.log_sharpness.exp() * similarity
        case "general":
            return (score.query.weight[own] @ query_d) @ (score.key.weight[own] @ key_e)
        case "additive":
            inner_a = score.query.weight[own] @ query_d + score.key.weight[own] @ key_e
            return score.v_a[own] @ inner_a.tanh()
        case "concat":
            return score.v_a[own] @ (score.joined.weight[own] @ torch.cat([query_d, key_e])).tanh()
        case _:
            return score.weight_pd[position * HEADS + head] @ query_d


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("name", list(SCORES))
def test_energies_of_each_head_equal_the_formula(name: str) -> None:
    score, query_bqd, states_bse = _score(name), _random(2, 4, SIZE), _random(2, 5, SIZE)
    energies_bxs = score(query_bqd, score.prepare(states_bse))
    assert energies_bxs.shape == (2, 4 * HEADS, 5)
    for b, q, head, s in torch.cartesian_prod(*map(torch.arange, (2, 4, HEADS, 5))).tolist():
        expected = _energy(score, name, head, query_bqd[b, q], s, states_bse[b, s])
        torch.testing.assert_close(energies_bxs[b, q * HEADS + head, s], expected)


def test_context_concatenates_the_heads_and_weights_are_their_mean() -> None:
    attention = draw(GlobalAttention(_score("additive")))
    states_bse, mask_bs = _random(2, 5, SIZE), torch.arange(5) < torch.tensor([[5], [3]])
    last = LayerStates(states_bse[:, :1], None)
    memory = attention.prepare(Encoded(states_bse, mask_bs, states_bse[:, 0], last))
    query_bqd = _random(2, 4, SIZE)
    output, _ = attention(query_bqd, memory, ())
    for b, q, length in ((0, 1, 5), (1, 3, 3)):
        contexts, every = [], []
        for head in range(HEADS):
            energies = [
                _energy(attention.score, "additive", head, query_bqd[b, q], s, states_bse[b, s])
                for s in range(length)
            ]
            weights_s = torch.stack(energies).softmax(dim=0)
            own = attention.values.weight[head * PART : (head + 1) * PART]
            contexts.append(weights_s @ (states_bse[b, :length] @ own.T))
            every.append(weights_s)
        torch.testing.assert_close(output.context_bqe[b, q], torch.cat(contexts))
        torch.testing.assert_close(output.weights_bqs[b, q, :length], torch.stack(every).mean(0))
        assert output.weights_bqs[b, q, length:].abs().sum() == 0


def _model(
    decoder: str = "bahdanau", score: str = "additive", attention: str = "global", **options: Any
) -> ModelConfig:
    return config(
        decoder=ComponentConfig(decoder, {"hidden_size": WIDTH}),
        attention=ComponentConfig(attention, options),
        score=ComponentConfig(score, {"heads": 2}),
    )


MODELS = [
    *(_model("luong", score) for score in SCORES),
    *(_model("bahdanau", attention=name) for name in ("local_m", "local_p", "soft")),
    _model("bahdanau", coverage=True),
    _model("gnmt"),
]


@pytest.mark.parametrize("model", MODELS)
def test_steps_and_compiled_model_equal_teacher_forcing(model: ModelConfig) -> None:
    built, given = build(model), text()
    at_once_btd = built(given.source_bs, given.source_mask_bs, given.target_bt).output_btd
    torch.testing.assert_close(at_once_btd, outputs_by_steps(built, given))
    backward(at_once_btd.square().sum())
    found = gradients(built)
    # The output layer is not part of the outputs.
    missing = {name for name, _ in built.named_parameters()} - found.keys()
    assert missing == {"output_layer.weight", "output_layer.bias"}
    compiled = compile_model(built)
    expected, _ = follow(built, given, *built.start(given.source_bs, given.source_mask_bs))
    log_probs, _ = follow(compiled, given, *compiled.start(given.source_bs, given.source_mask_bs))
    torch.testing.assert_close(log_probs, expected, rtol=1e-5, atol=1e-5)


def test_weights_of_each_head_are_recorded_and_average_to_the_alignment() -> None:
    model, given = compile_model(build(_model("luong", "general"))), text()
    assert model.has_heads
    memory, state = model.start(given.source_bs, given.source_mask_bs)
    assert isinstance(memory, AttentionMemory)
    with model.recorded_heads() as recorded:
        prediction = model.step(given.target_bt[:, 0], memory, state)
    ((weights_bhqs,),) = recorded
    assert weights_bhqs.shape == (3, 2, 1, 6)
    torch.testing.assert_close(weights_bhqs.mean(dim=1)[:, 0], prediction.weights_ns)
    assert not torch.equal(weights_bhqs[:, 0], weights_bhqs[:, 1])
    model.step(given.target_bt[:, 0], memory, state)
    assert len(recorded[0]) == 1
    assert can_override(build(_model("luong", "general")).decoder, memory)


def test_heads_must_divide_the_widths() -> None:
    for options in ({"heads": 3}, {"heads": 4, "hidden_size": 6}):
        model = config(
            decoder=ComponentConfig("luong", {"hidden_size": WIDTH}),
            score=ComponentConfig("additive", options),
        )
        with pytest.raises(UserError, match=r"heads: . does not divide the width"):
            build_model(model, PIECES, PIECES)


def test_hard_attention_has_one_head() -> None:
    with pytest.raises(UserError, match="draws one position per query; remove heads"):
        build_model(_model(attention="hard"), PIECES, PIECES)
