"""The fused recurrence gives what the plain loop gives, values and gradients, in float64."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.config.schema import ModelConfig
from nmt.model.decoders.recurrent import RecurrentDecoder
from nmt.model.layers.int8 import Int8Linear
from nmt.model.recurrence import fused, loop, plain
from nmt.model.recurrence.buffers import Given, Trail
from nmt.model.recurrence.steps import Steps
from nmt.model.recurrence.way import Way, going
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import MECHANISMS, SCORES, ComponentConfig
from tests.model.small import (
    ADDITIVE,
    BILINEAR,
    WIDTH,
    build,
    choices,
    config,
    fits,
    gradients,
    name_of,
    text,
)

# The sentences of `text` times its units are a multiple of four: so one draw of all masks takes
# the same numbers from the generator as a draw a step.
SIZES = {"hidden_size": WIDTH}
SERVED = ["dot", "scaled_dot", "general", "additive", "concat"]
DECODERS: list[ComponentConfig] = [
    *(ComponentConfig("bahdanau", {**SIZES, "layers": layers}) for layers in (1, 2, 3)),
    ComponentConfig(
        "bahdanau", {**SIZES, "layers": 2, "initial_state": "last", "deep_output": False}
    ),
    *(ComponentConfig("luong", {**SIZES, "layers": layers}) for layers in (1, 2, 3)),
    ComponentConfig("luong", {**SIZES, "attentional_size": 3, "readout_size": 5}),
    ComponentConfig("luong", {**SIZES, "attentional_output": False, "initial_state": "last"}),
    ComponentConfig("gnmt", {**SIZES, "layers": 3}),
]


def _served() -> Iterator[Any]:
    for decoder in DECODERS:
        for score in choices(SCORES):
            if score.type in SERVED:
                model = config(decoder=decoder, score=score)
                yield pytest.param(model, id=f"{name_of(decoder)}-{name_of(score)}")


def _results(model: Seq2Seq, way: Way, seed: int = 3) -> dict[str, Tensor]:
    """Outputs and the gradients of all parameters, of tables and encoder too."""
    given = text()
    torch.manual_seed(seed)
    with going(way):
        outputs_btd, _ = model(given.source_bs, given.source_mask_bs, given.target_bt)
    weights_btd = torch.randn(outputs_btd.shape, dtype=torch.float64).to(outputs_btd.dtype)
    backward((outputs_btd * weights_btd).sum())
    return {"outputs": outputs_btd.detach(), **gradients(model)}


def _assert_equal(results: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert results.keys() == expected.keys()
    for name, exact in expected.items():
        assert exact.abs().max() > 0, name
        error = float((results[name] - exact).norm() / exact.norm())
        assert error < 1e-10, (name, error)


def _refuse(*arguments: Any) -> Any:
    raise AssertionError("not this way")


@pytest.mark.parametrize("model", list(_served()))
def test_values_and_gradients_are_those_of_the_plain_loop(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(model)
    expected = _results(built, "plain")
    monkeypatch.setattr(plain, "run", _refuse)
    _assert_equal(_results(built, "fused"), expected)


@pytest.mark.parametrize("decoder", ["bahdanau", "luong"])
@pytest.mark.parametrize("score", [ADDITIVE, BILINEAR], ids=name_of)
def test_the_same_units_are_dropped_between_layers(decoder: str, score: ComponentConfig) -> None:
    options = {**SIZES, "layers": 3, "dropout": 0.4}
    built = build(config(decoder=ComponentConfig(decoder, options), score=score)).train()
    expected = _results(built, "plain")
    _assert_equal(_results(built, "fused"), expected)
    other = _results(built, "fused", seed=4)["outputs"]
    assert float((other - expected["outputs"]).norm()) > 0.1, "nothing was dropped"


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS[1::3], ids=name_of)
@pytest.mark.parametrize("score", [ADDITIVE, BILINEAR], ids=name_of)
def test_gradients_are_those_of_small_differences(
    decoder: ComponentConfig, score: ComponentConfig
) -> None:
    built = build(config(decoder=decoder, score=score))
    given = text()
    names = [name for name, _ in built.named_parameters()]

    def outputs(*values: Tensor) -> Tensor:
        inputs = (given.source_bs, given.source_mask_bs, given.target_bt)
        parameters = dict(zip(names, values, strict=True))
        found: Tensor = torch.func.functional_call(built, parameters, inputs).output_btd
        return found

    with going("fused"):
        assert torch.autograd.gradcheck(outputs, tuple(built.parameters()), fast_mode=True)


def _unserved() -> Iterator[Any]:
    decoder = ComponentConfig("bahdanau", {**SIZES, "layers": 2})
    yield config(decoder=ComponentConfig("bahdanau", {**SIZES, "cell": "gru"}))
    yield config(decoder=ComponentConfig("luong", {**SIZES, "cell": "gru"}))
    yield config(decoder=decoder, attention=ComponentConfig("global", {"coverage": True}))
    for mechanism in choices(MECHANISMS):
        model = config(decoder=decoder, attention=mechanism)
        if mechanism.type != "global" and fits(model):
            yield model
    for score in choices(SCORES, 0):
        if score.type not in SERVED:
            yield config(decoder=decoder, score=score)


def _name_of_all(model: ModelConfig) -> str:
    parts = (model.decoder, model.attention, model.score)
    return "-".join(name_of(part) for part in parts if part is not None)


@pytest.mark.parametrize("model", list(_unserved()), ids=_name_of_all)
def test_what_is_not_served_goes_the_plain_way(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(model)
    monkeypatch.setattr(fused, "run", _refuse)
    assert _results(built, "fused")["outputs"].isfinite().all()


def test_a_decoder_in_integers_goes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "run", _refuse)
    for decoder in ("bahdanau", "luong"):
        built = build(config(decoder=ComponentConfig(decoder, SIZES)), torch.float32)
        built.fix_products(Int8Linear)
        assert isinstance(built.decoder, RecurrentDecoder)
        given = text()
        memory, state = built.start(given.source_bs, given.source_mask_bs)
        assert built.decoder.describe(memory, state) is None


@pytest.mark.parametrize("decoder", ["bahdanau", "luong"])
def test_frozen_parameters_get_no_gradient(decoder: str) -> None:
    built = build(config(decoder=ComponentConfig(decoder, SIZES), score=ADDITIVE))
    for name, parameter in built.named_parameters():
        parameter.requires_grad_("recurrent.weight" in name and "decoder" in name)
    expected = _results(built, "plain")
    _assert_equal(_results(built, "fused"), expected)
    assert list(expected) == ["outputs", "decoder.stack.layers.0.recurrent.weight"]


def test_a_graph_can_be_gone_back_twice_and_beside_another() -> None:
    """Two sentences' losses before any gradient, as when updates are accumulated."""
    built, given = build(config(decoder=DECODERS[1], score=ADDITIVE)), text()
    once = _results(built, "fused")
    with going("fused"):
        outputs = [
            built(given.source_bs, given.source_mask_bs, target_bt).output_btd
            for target_bt in (given.target_bt, given.target_bt.flip(0))
        ]
    torch.manual_seed(3)
    weights_btd = torch.randn(outputs[0].shape, dtype=torch.float64)
    for _ in range(2):
        backward((outputs[0] * weights_btd).sum(), retain_graph=True)
        _assert_equal({"outputs": outputs[0].detach(), **gradients(built)}, once)


@pytest.mark.parametrize("score", [ADDITIVE, BILINEAR], ids=name_of)
def test_what_stands_in_the_padding_is_not_seen(score: ComponentConfig) -> None:
    built, given = build(config(decoder=DECODERS[1], score=score)), text()
    encoded = built.encode(given.source_bs, given.source_mask_bs)
    embedded_btm = built.target_embedding(given.target_bt)
    odd_bse = encoded.states_bse.masked_fill(~given.source_mask_bs[:, :, None], 7.0)
    with going("fused"):
        expected = built.decoder(embedded_btm, encoded).output_btd
        found = built.decoder(embedded_btm, encoded._replace(states_bse=odd_bse)).output_btd
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("decoder", DECODERS[1::3], ids=name_of)
@pytest.mark.parametrize("score", [ADDITIVE, BILINEAR], ids=name_of)
def test_bfloat16_is_near_float32_and_cells_stay_float32(
    decoder: ComponentConfig, score: ComponentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bfloat16 keeps 8 bits, 0.4 %; outputs and all gradients stay within 3 % of their size."""
    built = build(config(decoder=decoder, score=score), torch.float32)
    expected = _results(built, "plain")
    trails: list[tuple[Given, Trail]] = []

    def forward(given: Given, trail: Trail, steps: Steps) -> None:
        loop.forward(given, trail, steps)
        trails.append((given, trail))

    monkeypatch.setattr(fused, "forward", forward)
    with torch.autocast("cpu", torch.bfloat16):
        found = _results(built, "fused")
    ((given, trail),) = trails
    exact = {given.cell_lbd.dtype, trail.cell_ltbd.dtype, trail.weights_tbs.dtype}
    assert exact == {torch.float32}
    assert {trail.bottom_tbx.dtype, trail.gates_ltbg.dtype} == {torch.bfloat16}
    assert found["outputs"].dtype == torch.bfloat16
    near, right = (
        torch.cat([part.float().flatten() for part in own.values()]) for own in (found, expected)
    )
    assert 1e-4 < float((near - right).norm() / right.norm()) < 0.03


def test_without_gradients_nothing_is_kept() -> None:
    built, given = build(config(decoder=DECODERS[4], score=ADDITIVE)), text()
    inputs = (given.source_bs, given.source_mask_bs, given.target_bt)
    with torch.no_grad(), going("fused"):
        outputs_btd = built(*inputs).output_btd
    assert outputs_btd.grad_fn is None
    torch.testing.assert_close(outputs_btd, built(*inputs).output_btd, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("score", list(choices(SCORES, 0)), ids=name_of)
def test_a_score_is_linear_in_the_query_where_it_says_so(score: ComponentConfig) -> None:
    decoder: Any = build(config(decoder=DECODERS[0], score=score)).decoder
    given: Any = decoder.attention.score
    assert given.linear == (score.type in SERVED)
    if given.linear:
        one_11d, other_11d = torch.randn(2, 1, 1, WIDTH, dtype=torch.float64)
        left = given.project(2 * one_11d - 3 * other_11d)
        right = 2 * given.project(one_11d) - 3 * given.project(other_11d)
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
