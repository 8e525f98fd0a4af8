"""The bidirectional encoder against torch's LSTM and GRU with packed sequences."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nmt.model.encoders.bilstm import BiLSTMEncoder
from nmt.model.layers.recurrent import GRULayer, RecurrentLayer
from tests.model.numpy_formulas import draw

LENGTHS = torch.tensor([2, 5, 1, 4])
MASK_BS = torch.arange(5) < LENGTHS[:, None]
OPTIONS = [
    {"layers": layers, "cell": cell, "direction": way, "merge": merge, "residual": residual}
    for layers in (1, 2, 3)
    for cell in ("lstm", "gru")
    for way in ("both", "forward")
    for merge in ((None, "concat", "sum", "mean") if way == "both" else (None,))
    for residual in ((False, True) if layers > 1 else (False,))
]


def _embedded() -> Tensor:
    torch.manual_seed(6)
    return torch.randn(4, 5, 3, dtype=torch.float64)


def _torch_layer(directions: list[RecurrentLayer]) -> nn.RNNBase:
    first = directions[0]
    kind = nn.GRU if isinstance(first, GRULayer) else nn.LSTM
    layer = kind(
        first.input.weight.size(1),
        first.hidden_size,
        batch_first=True,
        bidirectional=len(directions) == 2,
        dtype=torch.float64,
    )
    for ours, suffix in zip(directions, ("", "_reverse"), strict=False):
        values = {
            "weight_ih": ours.input.weight,
            "weight_hh": ours.recurrent.weight,
            "bias_ih": ours.bias,
            "bias_hh": torch.zeros_like(ours.bias),
        }
        if isinstance(ours, GRULayer):
            values["bias_hh"] = torch.cat([torch.zeros_like(ours.bias[:6]), ours.reset_bias])
        for name, value in values.items():
            getattr(layer, f"{name}_l0{suffix}").data.copy_(value)
    return layer


def _merged(directions: list[Tensor], merge: str | None) -> Tensor:
    total = torch.stack(directions).sum(0)
    joined = {"sum": total, "mean": total / len(directions)}
    return joined.get(merge or "concat", torch.cat(directions, dim=-1))


def _layers(
    encoder: BiLSTMEncoder, embedded_bsm: Tensor, merge: str | None, residual: bool
) -> Iterator[tuple[Tensor, list[Tensor], list[Tensor]]]:
    """Compute annotations, last hidden states and cells of each layer by torch.

    A GRU has no cells; its hidden states are returned instead.
    """
    below: Tensor = embedded_bsm
    stack: Any = encoder.stack
    for number, directions in enumerate(map(list, stack)):
        layer = _torch_layer(directions)
        packed = pack_padded_sequence(below, LENGTHS, batch_first=True, enforce_sorted=False)
        outputs, last = layer(packed)
        hidden_kbh, cell_kbh = last if isinstance(last, tuple) else (last, last)
        states_bsh, _ = pad_packed_sequence(outputs, batch_first=True)
        states = _merged(list(states_bsh.chunk(len(directions), dim=-1)), merge)
        below = states + below if residual and number else states
        yield below, list(hidden_kbh), list(cell_kbh)


def _close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("keeps_cells", [False, True])
def test_encoder_equals_torch_with_packed_sequences(
    options: dict[str, Any], keeps_cells: bool
) -> None:
    keeps_cells = keeps_cells and options["cell"] == "lstm"
    encoder = draw(BiLSTMEncoder(3, hidden_size=3, **options))
    encoder.keeps_cells = keeps_cells
    embedded_bsm = _embedded()
    encoded = encoder(embedded_bsm, MASK_BS)
    expected = list(_layers(encoder, embedded_bsm, options["merge"], options["residual"]))
    _close(encoded.states_bse, expected[-1][0])
    _close(encoded.final_state_bx, expected[-1][1][-1])
    for number, (_, hidden, cell) in enumerate(expected):
        last_be = _merged(hidden, options["merge"])
        _close(encoded.layer_states.hidden_ble[:, number], last_be)
        if keeps_cells:
            cell_be = _merged(cell, options["merge"])
            _close(encoded.layer_states.cell_ble[:, number], cell_be)
    assert keeps_cells == (encoded.layer_states.cell_ble is not None)
    sizes = (encoder.output_size, encoder.final_state_size, encoder.layers)
    assert sizes == (encoded.states_bse.size(2), encoded.final_state_bx.size(1), len(expected))


def test_backward_direction_equals_forward_on_the_reversed_sentence() -> None:
    backward, forward = (
        draw(BiLSTMEncoder(3, hidden_size=3, layers=2, direction=way))
        for way in ("backward", "forward")
    )
    forward.load_state_dict(backward.state_dict())
    embedded_bsm, whole_bs = _embedded(), torch.ones(4, 5, dtype=torch.bool)
    one, other = backward(embedded_bsm, whole_bs), forward(embedded_bsm.flip(1), whole_bs)
    _close(one.states_bse, other.states_bse.flip(1))
    _close(one.final_state_bx, other.final_state_bx)
    assert torch.equal(one.final_state_bx, one.states_bse[:, 0])


def test_final_state_is_the_backward_state_at_the_first_position() -> None:
    encoder = draw(BiLSTMEncoder(3, hidden_size=2, layers=2))
    encoded = encoder(_embedded(), MASK_BS)
    assert torch.equal(encoded.final_state_bx, encoded.states_bse[:, 0, 2:])


def _masks_of_dropout(*, variational: bool, training: bool) -> Tensor:
    """Return the factors of dropout between the layers, time axis first."""
    encoder = draw(BiLSTMEncoder(3, hidden_size=16, layers=2, dropout=0.5, variational=variational))
    encoder.train(training)
    seen: list[Tensor] = []
    encoder.dropout.register_forward_hook(lambda _, given, out: seen.append(out / given[0]))
    encoder(torch.randn(4, 5, 3, dtype=torch.float64), torch.ones(4, 5, dtype=torch.bool))
    (mask_sbe,) = seen
    return mask_sbe


def test_variational_mask_is_shared_by_the_positions_of_a_sentence() -> None:
    mask_sbe = _masks_of_dropout(variational=True, training=True)
    torch.testing.assert_close(mask_sbe, mask_sbe[:1].expand_as(mask_sbe))
    sentences = {tuple((row > 0).tolist()) for row in mask_sbe[0]}
    assert len(sentences) == 4
    assert set(mask_sbe.round(decimals=6).flatten().tolist()) == {0.0, 2.0}


def test_plain_dropout_has_a_mask_per_position() -> None:
    mask_sbe = _masks_of_dropout(variational=False, training=True)
    rows = {tuple((row > 0).tolist()) for row in mask_sbe.flatten(0, 1)}
    assert len(rows) == 20
    assert set(mask_sbe.round(decimals=6).flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("variational", [False, True])
def test_no_dropout_in_evaluation(variational: bool) -> None:
    mask_sbe = _masks_of_dropout(variational=variational, training=False)
    assert torch.equal(mask_sbe, torch.ones_like(mask_sbe))


REFUSED = {
    "dropout has no effect": {"dropout": 0.3},
    "variational has no effect": {"layers": 2, "variational": True},
    "merge has no effect": {"direction": "forward", "merge": "sum"},
    "residual has no effect": {"residual": True},
}


@pytest.mark.parametrize(("message", "options"), REFUSED.items(), ids=REFUSED.keys())
def test_option_without_effect_is_rejected(message: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        BiLSTMEncoder(3, **options)


def test_encoder_gradients() -> None:
    encoder = draw(BiLSTMEncoder(2, hidden_size=2))
    encoder.keeps_cells = True
    mask_bs = torch.tensor([[True, True, True], [True, False, False]])

    def everything(embedded_bsm: Tensor) -> tuple[Tensor, ...]:
        encoded = encoder(embedded_bsm, mask_bs)
        return encoded.states_bse, encoded.final_state_bx, *encoded.layer_states

    torch.manual_seed(8)
    embedded_bsm = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(everything, (embedded_bsm,))
