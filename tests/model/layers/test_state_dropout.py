"""Zoneout and weight dropout of recurrent layers, and word dropout of embeddings."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.errors import UserError
from nmt.model.build import build_model
from nmt.model.layers.dropout import StateDropout
from nmt.model.layers.recurrent import LSTMLayer, RecurrentLayer
from nmt.model.layers.recurrent_stack import CELLS, LayerOptions, dropped_weights
from nmt.model.seq2seq import Embedding, Seq2Seq
from nmt.registry import ComponentConfig
from tests.model.numpy_formulas import array, draw
from tests.model.small import PIECES, WIDTH, build, config, gradients, text

INPUTS, UNITS, ROWS = 3, 40, 50
every_cell = pytest.mark.parametrize("kind", CELLS.values(), ids=CELLS.keys())


def _layer(kind: type[RecurrentLayer], *rates: float) -> Any:
    return draw(kind(INPUTS, UNITS, 0, StateDropout(*rates)))


def _step(layer: RecurrentLayer) -> tuple[Any, Any, Any]:
    """Return a state, the next one, and the next one of the same cell without zoneout."""
    torch.manual_seed(2)
    before = layer.initial_state(torch.randn(ROWS, UNITS, dtype=torch.float64))
    if before.cell_nd is not None:
        before = before._replace(cell_nd=torch.randn(ROWS, UNITS, dtype=torch.float64))
    projected_ng = layer.project(torch.randn(ROWS, INPUTS, dtype=torch.float64))
    zoned, layer.rates = layer.step(projected_ng, before), StateDropout()
    return before, zoned, layer.step(projected_ng, before)


@every_cell
def test_zoneout_keeps_a_share_of_the_units_in_training(kind: type[RecurrentLayer]) -> None:
    rates = (0.3, 0.6) if kind.has_cell else (0.3,)
    before, zoned, plain = _step(_layer(kind, *rates))
    for rate, old, found, new in zip(rates, before, zoned, plain, strict=False):
        is_kept = found == old
        assert torch.equal(found, old.where(is_kept, new))
        assert float(is_kept.double().mean()) == pytest.approx(rate, abs=0.04)


@every_cell
def test_zoneout_is_the_expected_value_outside_training(kind: type[RecurrentLayer]) -> None:
    """Krueger et al. 2017, section 3.1: each unit is the mean over its random choices."""
    rates = (0.3, 0.6) if kind.has_cell else (0.3,)
    before, zoned, plain = _step(_layer(kind, *rates).eval())
    for rate, old, found, new in zip(rates, before, zoned, plain, strict=False):
        expected = rate * array(old) + (1 - rate) * array(new)
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("is_training", [True, False])
def test_sequence_with_zoneout_equals_its_steps(is_training: bool) -> None:
    layer = _layer(LSTMLayer, 0.2, 0.4).train(is_training)
    inputs_tnm = torch.randn(5, 2, INPUTS, dtype=torch.float64)
    hold_tn = torch.tensor([[False] * 2] * 3 + [[True, False]] * 2)
    torch.manual_seed(7)
    states_tnd, last = layer.sequence(inputs_tnm, hold_tn=hold_tn)
    torch.manual_seed(7)
    zero_nd = torch.zeros(2, UNITS, dtype=torch.float64)
    states = [layer.initial_state(zero_nd)]
    for given_nm in inputs_tnm:
        states.append(layer.step(layer.project(given_nm), states[-1]))
    expected_tnd = torch.stack([state.hidden_nd for state in states[1:]])
    torch.testing.assert_close(states_tnd[:, 1], expected_tnd[:, 1], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(last.cell_nd[1], states[5].cell_nd[1], rtol=1e-12, atol=1e-14)
    # The first sentence has three steps; the others hold its cell.
    torch.testing.assert_close(last.cell_nd[0], states[3].cell_nd[0], rtol=1e-12, atol=1e-14)


def test_weight_dropout_drops_recurrent_weights_alone() -> None:
    layer = LSTMLayer(INPUTS, UNITS, 5, StateDropout(weight_dropout=0.25))
    kept_gx = layer.recurrent.weight
    with dropped_weights(layer):
        dropped_gx = layer.recurrent.weight
        assert torch.equal(dropped_gx[:, UNITS:], kept_gx[:, UNITS:])
        is_dropped = dropped_gx[:, :UNITS] == 0
        assert float(is_dropped.double().mean()) == pytest.approx(0.25, abs=0.02)
        scaled = kept_gx[:, :UNITS] / 0.75
        torch.testing.assert_close(dropped_gx[:, :UNITS][~is_dropped], scaled[~is_dropped])
        backward(dropped_gx.sum())
    assert layer.recurrent.weight is kept_gx
    assert kept_gx.grad is not None
    assert torch.equal(kept_gx.grad[:, :UNITS] == 0, is_dropped)
    with dropped_weights(layer.eval()):
        assert layer.recurrent.weight is kept_gx


def test_weights_are_restored_after_an_error() -> None:
    layer = LSTMLayer(INPUTS, UNITS, 0, StateDropout(weight_dropout=0.25))
    kept_gx = layer.recurrent.weight
    with pytest.raises(ValueError, match="inside"), dropped_weights(layer):
        raise ValueError("inside")
    assert layer.recurrent.weight is kept_gx


RATES = {"layer_norm": True, "zoneout": 0.2, "zoneout_cell": 0.3, "weight_dropout": 0.4}
DECODERS = [
    ComponentConfig(name, {"hidden_size": WIDTH, "layers": 2, **RATES})
    for name in ("bahdanau", "luong", "gnmt", "plain", "peeky")
]
ENCODERS = [
    ComponentConfig(name, {"hidden_size": WIDTH // size, "layers": 2, **RATES})
    for name, size in (("bilstm", 2), ("gnmt", 1))
]
BAHDANAU = ComponentConfig("bahdanau", {"hidden_size": WIDTH})
MODELS = [config(decoder=decoder) for decoder in DECODERS] + [
    config(encoder=encoder, decoder=BAHDANAU) for encoder in ENCODERS
]


def _outputs(model: Seq2Seq, seed: int = 3) -> Tensor:
    given = text()
    torch.manual_seed(seed)
    outputs: Tensor = model(given.source_bs, given.source_mask_bs, given.target_bt).output_btd
    return outputs


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.encoder.type}-{m.decoder.type}")
def test_random_numbers_are_those_of_torch_and_act_in_training_alone(model: Any) -> None:
    built = build(model).train()
    assert torch.equal(_outputs(built), _outputs(built))
    assert not torch.allclose(_outputs(built), _outputs(built, seed=4), atol=0.01)
    built.eval()
    assert torch.equal(_outputs(built), _outputs(built, seed=4))


@pytest.mark.parametrize("decoder", ["bahdanau", "luong", "gnmt"])
def test_fused_recurrence_has_the_same_dropped_weights(decoder: str) -> None:
    options = {"hidden_size": WIDTH, "layers": 2, "weight_dropout": 0.4}
    built: Any = build(config(decoder=ComponentConfig(decoder, options))).train()
    found = []
    for backend in ("eager", "fused"):
        built.decoder.backend = backend
        assert built.decoder.uses_fused == (backend == "fused")
        outputs_btd = _outputs(built)
        backward(outputs_btd.square().sum())
        found.append((outputs_btd, gradients(built)))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-11)


def test_zoneout_runs_eagerly_and_states_the_reason() -> None:
    model = config(decoder=ComponentConfig("bahdanau", {"hidden_size": WIDTH, "zoneout": 0.1}))
    built: Any = build(model)
    assert not built.decoder.uses_fused
    assert built.decoder.fused_obstacles == {"zoneout"}
    with pytest.raises(UserError, match="LSTM layers without zoneout"):
        build_model(model, PIECES, PIECES, recurrence="fused")


def test_zoneout_of_a_cell_requires_cells() -> None:
    with pytest.raises(ValueError, match="zoneout_cell has no effect with cell: gru"):
        LayerOptions("gru", zoneout_cell=0.1)


def test_word_dropout_drops_whole_vectors_in_training() -> None:
    torch.manual_seed(1)
    embedding = Embedding(5, 8, 0.0, 0.25)
    tokens_bt = torch.randint(5, (40, 50))
    dropped_btm, whole_btm = embedding(tokens_bt), embedding.eval()(tokens_bt)
    is_dropped_bt = (dropped_btm == 0).all(dim=2)
    assert float(is_dropped_bt.float().mean()) == pytest.approx(0.25, abs=0.03)
    kept = ~is_dropped_bt
    torch.testing.assert_close(dropped_btm[kept], whole_btm[kept] / 0.75)


@pytest.mark.parametrize("side", ["source", "target"])
def test_word_dropout_is_an_option_of_each_side(side: str) -> None:
    options: Any = {f"{side}_word_dropout": 0.9}
    built = build(config(decoder=BAHDANAU, **options)).train()
    rates = (built.source_embedding, built.target_embedding)
    assert [getattr(one, "word_dropout", None) for one in rates] == (
        [0.9, 0.0] if side == "source" else [0.0, 0.9]
    )
