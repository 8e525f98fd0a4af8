"""Tests that the fused recurrence equals the eager loop in float64, values and gradients."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import backward

from nmt import kernels
from nmt.config.choices import RecurrenceBackend
from nmt.config.schema import ModelConfig
from nmt.kernels import KernelError
from nmt.model.attention.score import BilinearScore, Score
from nmt.model.attention.scores.additive import AdditiveScore
from nmt.model.decoders.recurrent import RecurrentDecoder
from nmt.model.recurrence import fused
from nmt.model.recurrence.loop import Recurrence
from nmt.model.recurrence.torch_ops import CellOps, TorchCellOps
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

# The sentences of `text` times the units are a multiple of four, so one draw of all dropout masks
# takes the same numbers from the generator as one draw per step.
SIZES = {"hidden_size": WIDTH}
SUPPORTED_SCORES = ["dot", "scaled_dot", "general", "additive", "concat"]
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


def _supported() -> Iterator[Any]:
    for decoder in DECODERS:
        for score in choices(SCORES):
            if score.type in SUPPORTED_SCORES:
                model = config(decoder=decoder, score=score)
                yield pytest.param(model, id=f"{name_of(decoder)}-{name_of(score)}")


def _unsupported() -> Iterator[Any]:
    decoder = ComponentConfig("bahdanau", {**SIZES, "layers": 2})
    yield config(decoder=ComponentConfig("bahdanau", {**SIZES, "cell": "gru"}))
    yield config(decoder=ComponentConfig("luong", {**SIZES, "cell": "gru"}))
    yield config(decoder=ComponentConfig("luong", {**SIZES, "input_feeding": False}))
    yield config(decoder=decoder, attention=ComponentConfig("global", {"coverage": True}))
    yield config(decoder=decoder, attention=ComponentConfig("global", {"dropout": 0.1}))
    for mechanism in choices(MECHANISMS):
        model = config(decoder=decoder, attention=mechanism)
        if mechanism.type != "global" and fits(model):
            yield model
    for score in choices(SCORES, 0):
        if score.type not in SUPPORTED_SCORES:
            yield config(decoder=decoder, score=score)


def _name(model: ModelConfig) -> str:
    components = (model.decoder, model.attention, model.score)
    return "-".join(name_of(component) for component in components if component is not None)


def _decoder(model: Seq2Seq) -> RecurrentDecoder[Any, Any]:
    assert isinstance(model.decoder, RecurrentDecoder)
    return model.decoder


def _results(
    model: Seq2Seq, backend: RecurrenceBackend, seed: int = 3, *, need_weights: bool = False
) -> dict[str, Tensor]:
    """Return the outputs and the gradients of all parameters, including embeddings and encoder.

    Attention weights are outputs if they are needed, and take part in the gradients.
    """
    _decoder(model).backend = backend
    given = text()
    torch.manual_seed(seed)
    inputs = (given.source_bs, given.source_mask_bs, given.target_bt)
    output = model(*inputs, need_weights=need_weights)
    results = {"outputs": output.output_btd}
    if need_weights:
        results["weights"] = output.weights_bts
    towards = [torch.randn(x.shape, dtype=torch.float64).to(x.dtype) for x in results.values()]
    backward(list(results.values()), towards)
    return {name: x.detach() for name, x in results.items()} | gradients(model)


def _assert_equal(results: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert results.keys() == expected.keys()
    for name, exact in expected.items():
        assert exact.abs().max() > 0, name
        error = float((results[name] - exact).norm() / exact.norm())
        assert error < 1e-10, (name, error)


def _fail(*arguments: Any) -> Any:
    raise AssertionError("the other backend was expected")


@pytest.mark.parametrize("model", list(_supported()))
def test_fused_values_and_gradients_equal_eager(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(model)
    expected = _results(built, "eager")
    with_weights = _results(built, "eager", need_weights=True)
    monkeypatch.setattr(type(built.decoder), "advance", _fail)
    _assert_equal(_results(built, "auto"), expected)
    _assert_equal(_results(built, "fused", need_weights=True), with_weights)


@pytest.mark.parametrize("decoder", ["bahdanau", "luong"])
@pytest.mark.parametrize("score", [ADDITIVE, BILINEAR], ids=name_of)
def test_fused_drops_the_same_units_between_layers(decoder: str, score: ComponentConfig) -> None:
    options = {**SIZES, "layers": 3, "dropout": 0.4}
    built = build(config(decoder=ComponentConfig(decoder, options), score=score)).train()
    expected = _results(built, "eager")
    _assert_equal(_results(built, "fused"), expected)
    other = _results(built, "fused", seed=4)["outputs"]
    assert float((other - expected["outputs"]).norm()) > 0.1, "nothing was dropped"


class UnprojectedAdditive(AdditiveScore):
    """v·tanh(q + U k)."""

    supports_fused = True

    def project(self, query_bqd: Tensor) -> Tensor:
        return query_bqd

    def query_matrix(self) -> Any:
        return None


class ScaledLowRankScore(BilinearScore):
    """0.3 (A q)·(B k)."""

    supports_fused = True
    query_scale = 0.3

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.query = nn.Linear(query_size, 2, bias=False)
        self.key = nn.Linear(key_size, 2, bias=False)

    def prepare(self, states_bse: Tensor) -> Any:
        return self.key(states_bse)

    def project(self, query_bqd: Tensor) -> Any:
        return 0.3 * self.query(query_bqd)

    def query_matrix(self) -> Tensor:
        return self.query.weight


@pytest.mark.parametrize("decoder", DECODERS[1::3], ids=name_of)
@pytest.mark.parametrize("score", [UnprojectedAdditive, ScaledLowRankScore])
def test_fused_follows_the_query_matrix_and_scale(
    decoder: ComponentConfig, score: type[Score]
) -> None:
    built = build(config(decoder=decoder, score=ADDITIVE))
    attention: Any = _decoder(built).attention
    attention.score = score(WIDTH, WIDTH).double()
    expected = _results(built, "eager")
    _assert_equal(_results(built, "fused"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS[1::3], ids=name_of)
@pytest.mark.parametrize("score", [ADDITIVE, BILINEAR], ids=name_of)
def test_fused_gradients_equal_finite_differences(
    decoder: ComponentConfig, score: ComponentConfig
) -> None:
    built = build(config(decoder=decoder, score=score))
    _decoder(built).backend = "fused"
    given = text()
    names = [name for name, _ in built.named_parameters()]

    def outputs(*values: Tensor) -> Tensor:
        inputs = (given.source_bs, given.source_mask_bs, given.target_bt)
        parameters = dict(zip(names, values, strict=True))
        found: Tensor = torch.func.functional_call(built, parameters, inputs).output_btd
        return found

    assert torch.autograd.gradcheck(outputs, tuple(built.parameters()), fast_mode=True)


@pytest.mark.parametrize("model", list(_unsupported()), ids=_name)
def test_auto_runs_eagerly_where_fused_is_unsupported(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(model)
    monkeypatch.setattr(fused, "run", _fail)
    outputs_btd = built(text().source_bs, text().source_mask_bs, text().target_bt).output_btd
    assert outputs_btd.isfinite().all()
    assert not _decoder(built).uses_fused


@pytest.mark.parametrize("decoder", ["bahdanau", "luong"])
def test_frozen_parameters_get_no_gradient(decoder: str) -> None:
    built = build(config(decoder=ComponentConfig(decoder, SIZES), score=ADDITIVE))
    for name, parameter in built.named_parameters():
        parameter.requires_grad_("recurrent.weight" in name and "decoder" in name)
    expected = _results(built, "eager")
    _assert_equal(_results(built, "fused"), expected)
    assert list(expected) == ["outputs", "decoder.stack.layers.0.recurrent.weight"]


def test_backward_can_run_twice_and_after_another_forward() -> None:
    """As in gradient accumulation: two forward passes before the first backward pass."""
    built, given = build(config(decoder=DECODERS[1], score=ADDITIVE)), text()
    once = _results(built, "fused")
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
def test_source_padding_does_not_change_the_output(score: ComponentConfig) -> None:
    built, given = build(config(decoder=DECODERS[1], score=score)), text()
    encoded = built.encode(given.source_bs, given.source_mask_bs)
    embedded_btm = built.target_embedding(given.target_bt)
    changed_bse = encoded.states_bse.masked_fill(~given.source_mask_bs[:, :, None], 7.0)
    expected = built.decoder(embedded_btm, encoded).output_btd
    found = built.decoder(embedded_btm, encoded._replace(states_bse=changed_bse)).output_btd
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("decoder", DECODERS[1::3], ids=name_of)
@pytest.mark.parametrize("score", [ADDITIVE, BILINEAR], ids=name_of)
def test_bfloat16_is_close_to_float32_with_cells_in_float32(
    decoder: ComponentConfig, score: ComponentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bfloat16 has 8 significant bits, 0.4 %; outputs and gradients stay within 3 %."""
    built = build(config(decoder=decoder, score=score), torch.float32)
    expected = _results(built, "eager")
    recurrences: list[Recurrence] = []

    def spy(*arguments: Any) -> Recurrence:
        recurrences.append(Recurrence(*arguments))
        return recurrences[-1]

    monkeypatch.setattr(fused, "Recurrence", spy)
    with torch.autocast("cpu", torch.bfloat16):
        found = _results(built, "fused")
    for recurrence in recurrences:
        inputs, saved = recurrence.inputs, recurrence.saved
        wide = (inputs.cell_lbd, saved.cell_ltbd, saved.weights_tns)
        assert {x.dtype for x in wide} == {torch.float32}
        assert {saved.bottom_inputs_tbx.dtype, saved.gates_ltbg.dtype} == {torch.bfloat16}
    assert len(recurrences) == 2, "forward and backward"
    assert found["outputs"].dtype == torch.bfloat16
    near, right = (
        torch.cat([part.float().flatten() for part in own.values()]) for own in (found, expected)
    )
    assert 1e-4 < float((near - right).norm() / right.norm()) < 0.03


def test_without_gradients_nothing_is_saved() -> None:
    built, given = build(config(decoder=DECODERS[4], score=ADDITIVE)), text()
    inputs = (given.source_bs, given.source_mask_bs, given.target_bt)
    with torch.no_grad():
        outputs_btd = built(*inputs).output_btd
    assert outputs_btd.grad_fn is None
    torch.testing.assert_close(outputs_btd, built(*inputs).output_btd, rtol=1e-10, atol=1e-12)


def _failing_ops(operation: str, calls: int) -> CellOps:
    """Return operations of which one fails like a kernel after a number of calls."""
    remaining = [calls]

    def fail_at_last(self: CellOps, *arguments: Any) -> None:
        if not remaining[0]:
            raise KernelError("out of resource: shared memory")
        remaining[0] -= 1
        getattr(TorchCellOps, operation)(self, *arguments)

    failing: type[CellOps] = type("FailingOps", (TorchCellOps,), {operation: fail_at_last})
    return failing()


@pytest.mark.parametrize("operation", ["lstm", "lstm_backward", "attend", "attend_backward"])
@pytest.mark.parametrize("decoder", [DECODERS[1], DECODERS[5]], ids=name_of)
def test_failed_kernel_is_replaced_by_torch_in_the_same_pass(
    decoder: ComponentConfig, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass starts again, also if some steps have written their results already."""
    monkeypatch.setattr(kernels, "_failures", [])
    built = build(config(decoder=decoder, score=ADDITIVE))
    expected = _results(built, "fused")
    monkeypatch.setattr(fused, "choose_ops", lambda inputs: _failing_ops(operation, calls=2))
    found = _results(built, "fused")
    assert len(kernels._failures) == 1
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)
