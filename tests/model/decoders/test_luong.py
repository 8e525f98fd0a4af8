"""The decoder of Luong et al. against NumPy, for one sentence in the order of the paper."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.errors import UserError
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import ComponentConfig
from tests.model.numpy_formulas import Array, array, draw, recurrent_step, softmax
from tests.model.small import PIECES, config

SOURCE, TARGET = [[4, 1, 7, 2]], [[1, 5, 5, 9, 3]]


def _model(**options: object) -> Seq2Seq:
    decoder = ComponentConfig("luong", {"hidden_size": 4, "initial_state": "last", **options})
    encoder = ComponentConfig("bilstm", {"hidden_size": 2, "layers": 3})
    model: Seq2Seq = draw(
        build_model(
            config(encoder=encoder, decoder=decoder, score=ComponentConfig("dot")), PIECES, PIECES
        )
    )
    return model


def _with_numpy(model: Seq2Seq, feeds: bool = True, *, shows: bool = True) -> tuple[Array, Array]:
    """Compute h~ or s and the attention weights at every target position."""
    decoder: Any = model.decoder
    source_bs = torch.tensor(SOURCE)
    encoded = model.encode(source_bs, torch.ones_like(source_bs).bool())
    annotations, layers = array(encoded.states_bse)[0], list(decoder.stack.layers)
    # Each layer starts from the encoder layer at the same distance from the top.
    hidden = list(array(encoded.layer_states.hidden_ble)[0, -len(layers) :])
    cells = [np.zeros(4) for _ in layers]
    if encoded.layer_states.cell_ble is not None:
        cells = list(array(encoded.layer_states.cell_ble)[0, -len(layers) :])
    attentional = np.zeros(decoder.attentional_size)
    outputs, looked = [], []
    for piece in TARGET[0]:
        entering = array(model.target_embedding.weight)[piece]
        fed = [attentional] if feeds else []
        for number, layer in enumerate(layers):  # update the state ...
            hidden[number], cells[number] = recurrent_step(
                layer, entering, hidden[number], cells[number], *fed
            )
            entering, fed = hidden[number], []
        weights = softmax(annotations @ hidden[-1])  # ... then attend with s_t
        context = weights @ annotations
        attentional = np.tanh(array(decoder.combine.weight) @ np.concatenate([context, hidden[-1]]))
        outputs.append(attentional if shows else hidden[-1])
        looked.append(weights)
    return np.stack(outputs), np.stack(looked)


def _agree(model: Seq2Seq, expected: Array, looked: Array) -> None:
    source_bs, target_bt = torch.tensor(SOURCE), torch.tensor(TARGET)
    mask_bs = torch.ones_like(source_bs).bool()
    outputs_btd = model(source_bs, mask_bs, target_bt).output_btd
    np.testing.assert_allclose(array(outputs_btd)[0], expected, rtol=1e-9, atol=1e-12)
    memory, state = model.start(source_bs, mask_bs)
    for position, tokens_n in enumerate(target_bt.unbind(1)):
        _, weights_ns, state, *_ = model.step(tokens_n, memory, state)
        assert weights_ns is not None
        np.testing.assert_allclose(array(weights_ns)[0], looked[position], rtol=1e-9)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("feeds", [True, False], ids=["input feeding", "none"])
@pytest.mark.parametrize("width", [None, 6])
def test_decoder_equals_the_equations_of_the_paper(
    layers: int, cell: str, feeds: bool, width: int | None
) -> None:
    model = _model(layers=layers, cell=cell, input_feeding=feeds, attentional_size=width)
    expected, looked = _with_numpy(model, feeds)
    assert model.decoder.output_size == expected.shape[1] == (width or 4)
    _agree(model, expected, looked)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("width", [None, 6])
def test_without_attentional_output_attention_affects_only_the_next_step(
    layers: int, cell: str, width: int | None
) -> None:
    model = _model(layers=layers, cell=cell, attentional_output=False, attentional_size=width)
    expected, looked = _with_numpy(model, shows=False)
    assert model.decoder.output_size == expected.shape[1] == 4
    _agree(model, expected, looked)


def test_unused_attention_is_rejected() -> None:
    with pytest.raises(UserError, match="attention has no effect without input_feeding"):
        _model(input_feeding=False, attentional_output=False)


@pytest.mark.parametrize("feeds", [True, False], ids=["input feeding", "none"])
def test_readout_is_linear_in_the_attentional_state(feeds: bool) -> None:
    model = _model(input_feeding=feeds, attentional_size=6, readout_size=5)
    attentional, looked = _with_numpy(model, feeds)
    readout: Any = model.decoder.get_submodule("readout")
    expected = attentional @ array(readout.weight).T + array(readout.bias)
    assert model.decoder.output_size == expected.shape[1] == 5
    _agree(model, expected, looked)
