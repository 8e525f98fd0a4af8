"""The GNMT decoder against NumPy, for one sentence in the order of the paper."""

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
    decoder = ComponentConfig("gnmt", {"hidden_size": 4, "initial_state": "last", **options})
    encoder = ComponentConfig("gnmt", {"hidden_size": 4})
    score = ComponentConfig("additive", {"hidden_size": 3})
    model: Seq2Seq = draw(
        build_model(config(encoder=encoder, decoder=decoder, score=score), PIECES, PIECES)
    )
    return model


def _look(decoder: Any, annotations: Array, state: Array) -> Array:
    """Compute attention weights with the additive score."""
    score = decoder.attention.score
    query = array(score.query.weight) @ state
    alignment = np.tanh(query + annotations @ array(score.key.weight).T)
    return softmax(alignment @ array(score.v_a))


def _with_numpy(model: Seq2Seq, residual: bool) -> tuple[Array, Array]:
    """Compute the output of the top layer and the attention weights at every target position."""
    decoder: Any = model.decoder
    source_bs = torch.tensor(SOURCE)
    encoded = model.encode(source_bs, torch.ones_like(source_bs).bool())
    annotations, layers = array(encoded.states_bse)[0], [decoder.bottom, *decoder.upper]
    hidden = list(array(encoded.layer_states.hidden_ble)[0, -len(layers) :])
    cells = [np.zeros(4) for _ in layers]
    if encoded.layer_states.cell_ble is not None:
        cells = list(array(encoded.layer_states.cell_ble)[0, -len(layers) :])
    outputs, looked = [], []
    for piece in TARGET[0]:
        weights = _look(
            decoder, annotations, hidden[0]
        )  # attend with the bottom layer's last state
        context = weights @ annotations
        output = array(model.target_embedding.weight)[piece]
        for number, layer in enumerate(layers):  # ... then update all layers
            # The bottom layer's weights for the context follow those for its state.
            entering, fed = np.concatenate([output, context]), []
            if number == 0:
                entering, fed = output, [context]
            hidden[number], cells[number] = recurrent_step(
                layer, entering, hidden[number], cells[number], *fed
            )
            output = hidden[number] + output if residual and number >= 2 else hidden[number]
        outputs.append(output)
        looked.append(weights)
    return np.stack(outputs), np.stack(looked)


@pytest.mark.parametrize("layers", [2, 3, 4])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("residual", [True, False], ids=["residual", "none"])
def test_decoder_equals_the_equations_of_the_paper(layers: int, cell: str, residual: bool) -> None:
    options = {"residual": residual} if layers > 2 else {}
    model = _model(layers=layers, cell=cell, **options)
    expected, looked = _with_numpy(model, residual)
    source_bs, target_bt = torch.tensor(SOURCE), torch.tensor(TARGET)
    mask_bs = torch.ones_like(source_bs).bool()
    outputs_btd = model(source_bs, mask_bs, target_bt).output_btd
    np.testing.assert_allclose(array(outputs_btd)[0], expected, rtol=1e-9, atol=1e-12)
    memory, state = model.start(source_bs, mask_bs)
    for position, tokens_n in enumerate(target_bt.unbind(1)):
        _, weights_ns, state, *_ = model.step(tokens_n, memory, state)
        assert weights_ns is not None
        np.testing.assert_allclose(array(weights_ns)[0], looked[position], rtol=1e-9)


REFUSED = {
    "requires at least 2 layers; add layers or use decoder 'bahdanau'": {"layers": 1},
    "residual has no effect with fewer than 3 layers": {"layers": 2, "residual": False},
    "got 4 and 5": {"layers": 5},
}


@pytest.mark.parametrize(("message", "options"), REFUSED.items(), ids=REFUSED.keys())
def test_incompatible_options_are_rejected(message: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=message):
        _model(**options)
