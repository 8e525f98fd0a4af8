"""The LSTMN decoder against NumPy, for one sentence in the order of the paper."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.errors import UserError
from nmt.model.build import build_model, check_model
from nmt.model.layers.lstmn import MEMORY_TAPE
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import ComponentConfig
from tests.model.numpy_formulas import Array, array, draw, lstmn_step, sigmoid, softmax
from tests.model.small import PIECES, config

SOURCE, TARGET = [[4, 1, 7, 2]], [[1, 5, 5, 9, 3]]
UNITS = 4
ENCODER = ComponentConfig("lstmn", {"hidden_size": UNITS // 2, "direction": "both"})


def _model(**options: object) -> Seq2Seq:
    decoder = ComponentConfig("lstmn", {"hidden_size": UNITS, "attention_size": 3, **options})
    score = ComponentConfig("additive", {"hidden_size": 3})
    model: Seq2Seq = draw(
        build_model(config(encoder=ENCODER, decoder=decoder, score=score), PIECES, PIECES)
    )
    return model


def _encoded(model: Seq2Seq) -> Any:
    source_bs = torch.tensor(SOURCE)
    return model.encode(source_bs, torch.ones_like(source_bs).bool())


def _first_state(model: Seq2Seq, encoded: Any) -> tuple[Array, Array]:
    """Return h_0 and c_0, the first entry of the tapes."""
    bridge: Any = model.decoder.bridge
    if bridge.kind == "last":
        return array(encoded.layer_states.hidden_ble)[0, -1], array(encoded.layer_states.cell_ble)[
            0, -1
        ]
    return np.tanh(array(bridge.weight_ldx)[0] @ array(encoded.final_state_bx)[0]), np.zeros(UNITS)


def _with_numpy(model: Seq2Seq) -> tuple[Array, Array, Array]:
    """Compute inputs of the output layer, attention weights, and weights of past states."""
    decoder: Any = model.decoder
    score, encoded = decoder.attention.score, _encoded(model)
    annotations, cells = array(encoded.states_bse)[0], array(encoded.extras[MEMORY_TAPE])[0]
    places = [_first_state(model, encoded)]
    recalled, context = np.zeros(UNITS), np.zeros(UNITS)
    outputs, looked, matrix = [], [], np.zeros((len(TARGET[0]), len(TARGET[0])))
    for step, piece in enumerate(TARGET[0]):
        embedded = array(model.target_embedding.weight)[piece]
        asking = np.concatenate([embedded, context])
        query = array(score.query.weight) @ (asking if decoder.query_is_input else places[-1][0])
        alignment = np.tanh(query + annotations @ array(score.key.weight).T)
        weights = softmax(alignment @ array(score.v_a))
        context = weights @ annotations
        entering, carried = np.concatenate([embedded, context]), np.zeros(UNITS)
        if decoder.deep:
            gate = array(decoder.carry_input.weight) @ embedded + array(decoder.carry_input.bias)
            gate = sigmoid(gate + array(decoder.carry_context.weight) @ context)
            entering, carried = embedded, gate * (weights @ cells)
        place, recalled, shares = lstmn_step(
            decoder.layer, entering, places, recalled, carried=carried
        )
        matrix[step, : len(places)] = shares
        places.append(place)
        seen = np.concatenate([place[0], context, embedded])
        if decoder.readout is not None:
            pairs = array(decoder.readout.weight) @ seen + array(decoder.readout.bias)
            seen = np.maximum(pairs[0::2], pairs[1::2])
        outputs.append(seen)
        looked.append(weights)
    return np.stack(outputs), np.stack(looked), matrix


@pytest.mark.parametrize("fusion", ["shallow", "deep"])
@pytest.mark.parametrize("query", ["state", "input"])
@pytest.mark.parametrize("initial_state", ["bridge", "last"])
@pytest.mark.parametrize("deep_output", [True, False], ids=["maxout", "plain"])
def test_decoder_equals_the_equations_of_the_paper(
    fusion: str, query: str, initial_state: str, deep_output: bool
) -> None:
    model = _model(fusion=fusion, query=query, initial_state=initial_state, deep_output=deep_output)
    expected, looked, recalled = _with_numpy(model)
    source_bs, target_bt = torch.tensor(SOURCE), torch.tensor(TARGET)
    mask_bs = torch.ones_like(source_bs).bool()
    outputs_btd = model(source_bs, mask_bs, target_bt).output_btd
    np.testing.assert_allclose(array(outputs_btd)[0], expected, rtol=1e-9, atol=1e-12)
    assert model.decoder.output_size == expected.shape[1]
    memory, state = model.start(source_bs, mask_bs)
    for position, tokens_n in enumerate(target_bt.unbind(1)):
        _, weights_ns, state, *_ = model.step(tokens_n, memory, state)
        assert weights_ns is not None
        np.testing.assert_allclose(array(weights_ns)[0], looked[position], rtol=1e-9)
    decoder: Any = model.decoder
    weights_btt = decoder.intra_weights(model.target_embedding(target_bt), _encoded(model))
    np.testing.assert_allclose(array(weights_btt)[0], recalled, rtol=1e-9)


MISFITS = {
    "fusion 'deep' requires an encoder with a memory tape": config(
        encoder=ComponentConfig("bilstm", {"hidden_size": 2}),
        decoder=ComponentConfig("lstmn", {"hidden_size": 4, "fusion": "deep"}),
    ),
    "fusion 'deep' adds cells of width 4 to those of the decoder, of width 5": config(
        encoder=ENCODER, decoder=ComponentConfig("lstmn", {"hidden_size": 5, "fusion": "deep"})
    ),
    "readout_size has no effect with deep_output: false": config(
        encoder=ENCODER, decoder=ComponentConfig("lstmn", {"readout_size": 3, "deep_output": False})
    ),
}


@pytest.mark.parametrize(("message", "model"), MISFITS.items(), ids=MISFITS.keys())
def test_incompatible_options_are_rejected(message: str, model: Any) -> None:
    with pytest.raises(UserError) as refusal:
        check_model(model, joint=True)
    assert str(refusal.value).startswith(f"decoder 'lstmn': {message}")
