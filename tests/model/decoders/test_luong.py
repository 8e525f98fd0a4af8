"""Luong's decoder, re-written in NumPy for one sentence in the paper's order."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import Choice
from tests.model.by_hand import Array, array, draw, lstm_step, softmax
from tests.model.small import PIECES, config

SOURCE, TARGET = [[4, 1, 7, 2]], [[1, 5, 5, 9, 3]]


def _model(**options: object) -> Seq2Seq:
    decoder = Choice("luong", {"hidden_size": 4, "initial_state": "last", **options})
    encoder = Choice("bilstm", {"hidden_size": 2, "layers": 3})
    model: Seq2Seq = draw(
        build_model(config(encoder=encoder, decoder=decoder, score=Choice("dot")), PIECES, PIECES)
    )
    return model


def _by_hand(model: Seq2Seq, feeds: bool) -> tuple[Array, Array]:
    """h~ and the weights at every target position."""
    decoder: Any = model.decoder
    source_bs = torch.tensor(SOURCE)
    encoded = model.encode(source_bs, torch.ones_like(source_bs).bool())
    annotations, layers = array(encoded.states_bse)[0], list(decoder.lstm.layers)
    # Each layer goes on where the encoder's layer of the same height under the top ended.
    hidden = list(array(encoded.final.hidden_ble)[0, -len(layers) :])
    cells = list(array(encoded.final.cell_ble)[0, -len(layers) :])
    attentional = np.zeros(decoder.attentional_size)
    outputs, looked = [], []
    for piece in TARGET[0]:
        entering = array(model.target_embedding.weight)[piece]
        fed = [attentional] if feeds else []
        for number, layer in enumerate(layers):  # move ...
            hidden[number], cells[number] = lstm_step(
                layer, entering, hidden[number], cells[number], *fed
            )
            entering, fed = hidden[number], []
        weights = softmax(annotations @ hidden[-1])  # ... then look with s_t
        context = weights @ annotations
        attentional = np.tanh(array(decoder.combine.weight) @ np.concatenate([context, hidden[-1]]))
        readout = decoder.readout
        outputs.append(
            attentional
            if readout is None
            else array(readout.weight) @ attentional + array(readout.bias)
        )
        looked.append(weights)
    return np.stack(outputs), np.stack(looked)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("feeds", [True, False], ids=["input feeding", "none"])
@pytest.mark.parametrize("width", [None, 6])
@pytest.mark.parametrize("readout", [None, 5])
def test_the_decoder_moves_then_looks_as_in_the_paper(
    layers: int, feeds: bool, width: int | None, readout: int | None
) -> None:
    model = _model(layers=layers, input_feeding=feeds, attentional_size=width, readout_size=readout)
    expected, looked = _by_hand(model, feeds)
    source_bs, target_bt = torch.tensor(SOURCE), torch.tensor(TARGET)
    mask_bs = torch.ones_like(source_bs).bool()
    outputs_btd = model(source_bs, mask_bs, target_bt)
    np.testing.assert_allclose(array(outputs_btd)[0], expected, rtol=1e-9, atol=1e-12)
    assert model.decoder.output_size == expected.shape[1] == (readout or width or 4)
    memory, state = model.start(source_bs, mask_bs)
    for position, tokens_n in enumerate(target_bt.unbind(1)):
        _, weights_ns, state = model.step(tokens_n, memory, state)
        assert weights_ns is not None
        np.testing.assert_allclose(array(weights_ns)[0], looked[position], rtol=1e-9)
