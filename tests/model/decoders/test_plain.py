"""The decoder without attention against NumPy, for one sentence."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import ComponentConfig
from tests.model.numpy_formulas import Array, array, draw, recurrent_step
from tests.model.small import PIECES, config

SOURCE, TARGET = [[4, 1, 7, 2]], [[1, 5, 5, 9, 3]]
WHOLE = torch.ones(1, 4, dtype=torch.bool)


BACKWARD = {"hidden_size": 4, "layers": 2, "direction": "backward"}
BOTH = {"hidden_size": 2, "layers": 2}


def _model(encoder_options: dict[str, object], **options: object) -> Seq2Seq:
    decoder = ComponentConfig("plain", {"hidden_size": 4, **options})
    encoder = ComponentConfig("bilstm", encoder_options)
    model: Seq2Seq = draw(build_model(config(encoder=encoder, decoder=decoder), PIECES, PIECES))
    return model


def _with_numpy(model: Seq2Seq, hidden: list[Array], cells: list[Array]) -> Array:
    """Compute the top layer's hidden state at every target position from the initial states."""
    decoder: Any = model.decoder
    outputs = []
    for piece in TARGET[0]:
        entering = array(model.target_embedding.weight)[piece]
        for number, layer in enumerate(decoder.stack.layers):
            hidden[number], cells[number] = recurrent_step(
                layer, entering, hidden[number], cells[number]
            )
            entering = hidden[number]
        outputs.append(entering)
    return np.stack(outputs)


def _agree(model: Seq2Seq, hidden: list[Array], cells: list[Array]) -> None:
    outputs_btd = model(torch.tensor(SOURCE), WHOLE, torch.tensor(TARGET)).output_btd
    expected = _with_numpy(model, hidden, cells)
    np.testing.assert_allclose(array(outputs_btd)[0], expected, rtol=1e-9, atol=1e-12)
    assert model.decoder.output_size == expected.shape[1]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_decoder_equals_the_equations_of_the_paper(layers: int, cell: str) -> None:
    model = _model(BACKWARD, layers=layers, cell=cell, initial_state="last")
    final = model.encode(torch.tensor(SOURCE), WHOLE).layer_states
    hidden = list(array(final.hidden_ble)[0, -layers:])
    cells = [np.zeros(4)] * layers
    if final.cell_ble is not None:
        cells = list(array(final.cell_ble)[0, -layers:])
    assert (final.cell_ble is not None) == (cell == "lstm")
    _agree(model, hidden, cells)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("encoder", [BACKWARD, BOTH], ids=["backward", "both"])
def test_bridge_reads_the_last_states_of_both_directions(
    encoder: dict[str, object], layers: int, cell: str
) -> None:
    model = _model(encoder, layers=layers, cell=cell)
    decoder: Any = model.decoder
    annotations = array(model.encode(torch.tensor(SOURCE), WHOLE).states_bse)[0]
    ended = annotations[0]
    if encoder == BOTH:
        ended = np.concatenate([annotations[-1, :2], annotations[0, 2:]])
    hidden = [np.tanh(weight @ ended) for weight in array(decoder.bridge.weight_ldx)]
    _agree(model, hidden, [np.zeros(4)] * layers)
