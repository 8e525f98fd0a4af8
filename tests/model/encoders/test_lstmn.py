"""The LSTMN encoder against NumPy, one sentence at a time."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.model.encoders.lstmn import LSTMNEncoder
from nmt.model.interfaces import SourceSizes
from nmt.model.layers.lstmn import MEMORY_TAPE, LSTMNLayer
from tests.model.numpy_formulas import Array, array, draw, lstmn_step

LENGTHS = torch.tensor([2, 5, 1, 4])
MASK_BS = torch.arange(5) < LENGTHS[:, None]
UNITS = 3
OPTIONS = [
    {"layers": layers, "direction": way, "attention_size": width}
    for layers in (1, 2)
    for way in ("forward", "both")
    for width in (None, 2)
]


def _embedded() -> Tensor:
    torch.manual_seed(6)
    return torch.randn(4, 5, 3, dtype=torch.float64)


class _Read(NamedTuple):
    """Output of one direction of a layer for one sentence, in the order of its positions."""

    hidden: Array
    cells: Array
    weights: Array
    last: tuple[Array, Array]


def _read(layer: LSTMNLayer, sentence: Array, *, backward: bool) -> _Read:
    length = len(sentence)
    places: list[tuple[Array, Array]] = []
    recalled, weights = np.zeros(UNITS), np.zeros((length, length))
    order = range(length)[::-1] if backward else range(length)
    for step, position in enumerate(order):
        place, recalled, shares = lstmn_step(layer, sentence[position], places, recalled)
        weights[position, list(order[:step])] = shares
        places.append(place)
    hidden, cells = (np.stack(tape)[list(order)] for tape in zip(*places, strict=True))
    return _Read(hidden, cells, weights, places[-1])


def _check(encoder: LSTMNEncoder, sentence: Array, encoded: Any, weights: Array, row: int) -> None:
    """Compare one sentence of a batch, layer by layer."""
    below, length = sentence, len(sentence)
    stack: Any = encoder.stack
    for number, readers in enumerate(stack):
        read = [_read(layer, below, backward=bool(n)) for n, layer in enumerate(readers)]
        last_hidden, last_cell = (
            np.concatenate(x) for x in zip(*(r.last for r in read), strict=True)
        )
        _close(encoded.layer_states.hidden_ble[row, number], last_hidden)
        if encoder.keeps_cells:
            _close(encoded.layer_states.cell_ble[row, number], last_cell)
        recalled = sum(one.weights for one in read)
        np.testing.assert_allclose(weights[number, :length, :length], recalled, rtol=1e-9)
        below = np.concatenate([one.hidden for one in read], axis=1)
    _close(encoded.states_bse[row, :length], below)
    _close(
        encoded.extras[MEMORY_TAPE][row, :length],
        np.concatenate([one.cells for one in read], axis=1),
    )
    _close(encoded.final_state_bx[row], read[-1].last[0])


def _close(ours: Tensor, theirs: Array) -> None:
    np.testing.assert_allclose(array(ours), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("keeps_cells", [False, True])
def test_encoder_equals_the_equations_of_the_paper(
    options: dict[str, Any], keeps_cells: bool
) -> None:
    encoder = draw(LSTMNEncoder(3, hidden_size=UNITS, **options))
    encoder.keeps_cells = keeps_cells
    embedded_bsm = _embedded()
    encoded = encoder(embedded_bsm, MASK_BS)
    weights_blss = array(encoder.intra_weights(embedded_bsm, MASK_BS))
    for row, length in enumerate(LENGTHS.tolist()):
        sentence = array(embedded_bsm)[row, :length]
        _check(encoder, sentence, encoded, weights_blss[row], row)
    assert keeps_cells == (encoded.layer_states.cell_ble is not None)
    assert encoder.output_size == encoded.states_bse.size(2) == encoded.extras[MEMORY_TAPE].size(2)
    assert encoder.final_state_size == encoded.final_state_bx.size(1)


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_tapes_and_weights_are_zero_in_padding(direction: Any) -> None:
    encoder = draw(LSTMNEncoder(3, hidden_size=UNITS, layers=2, direction=direction))
    encoded = encoder(_embedded(), MASK_BS)
    weights_blss = encoder.intra_weights(_embedded(), MASK_BS)
    assert encoded.extras[MEMORY_TAPE][~MASK_BS].abs().sum() == 0
    real_bss = MASK_BS[:, :, None] & MASK_BS[:, None, :]
    assert weights_blss.masked_fill(real_bss[:, None], 0).abs().sum() == 0


def test_sizes_contain_the_memory_tape() -> None:
    assert LSTMNEncoder(3, hidden_size=2, direction="both").sizes == SourceSizes(
        4, 2, 1, extras={MEMORY_TAPE: 4}
    )


def test_dropout_of_a_single_layer_is_rejected() -> None:
    with pytest.raises(ValueError, match="dropout has no effect with layers: 1"):
        LSTMNEncoder(3, dropout=0.1)


def test_encoder_gradients() -> None:
    encoder = draw(LSTMNEncoder(2, hidden_size=2, layers=2, direction="both"))
    encoder.keeps_cells = True
    mask_bs = torch.tensor([[True, True, True], [True, False, False]])

    def everything(embedded_bsm: Tensor) -> tuple[Tensor, ...]:
        encoded = encoder(embedded_bsm, mask_bs)
        return (
            encoded.states_bse,
            encoded.extras[MEMORY_TAPE],
            encoded.final_state_bx,
            *encoded.layer_states,
        )

    torch.manual_seed(8)
    embedded_bsm = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(everything, (embedded_bsm,))
