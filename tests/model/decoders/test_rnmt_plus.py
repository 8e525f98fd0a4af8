"""The RNMT+ decoder against NumPy, for one sentence in the order of the paper."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.model.attention.mechanisms.global_attention import GlobalAttention
from nmt.model.attention.scores.dot import DotScore
from nmt.model.build import build_model
from nmt.model.interfaces import Encoded, LayerStates
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import ComponentConfig
from tests.model.numpy_formulas import array, draw, gate_norm_lstm_step, softmax
from tests.model.small import PIECES, config

SOURCE, TARGET, UNITS, HEADS = [[4, 1, 7, 2]], [[1, 5, 5, 9, 3]], 4, 2


def _model(**options: object) -> Seq2Seq:
    sizes = {"hidden_size": UNITS}
    model: Seq2Seq = draw(
        build_model(
            config(
                encoder=ComponentConfig("rnmt_plus", {**sizes, "layers": 4}),
                decoder=ComponentConfig("rnmt_plus", {**sizes, **options}),
                score=ComponentConfig("additive", {"heads": HEADS}),
            ),
            PIECES,
            PIECES,
        )
    )
    return model


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("initial_state", ["zero", "last"])
def test_decoder_equals_the_equations_of_the_paper(layers: int, initial_state: str) -> None:
    model = _model(layers=layers, initial_state=initial_state)
    decoder: Any = model.decoder
    source_bs, target_bt = torch.tensor(SOURCE), torch.tensor(TARGET)
    mask_bs = torch.ones_like(source_bs).bool()
    encoded = model.encode(source_bs, mask_bs)
    annotations, score = array(encoded.states_bse)[0], decoder.attention.score
    every = [decoder.bottom, *decoder.upper]
    hidden, cells = ([np.zeros(UNITS) for _ in every] for _ in range(2))
    if initial_state == "last":
        assert encoded.layer_states.cell_ble is not None
        hidden = list(array(encoded.layer_states.hidden_ble)[0, -layers:])
        cells = list(array(encoded.layer_states.cell_ble)[0, -layers:])
    keys, values = annotations @ array(score.key.weight).T, decoder.attention.values
    outputs, looked = [], []
    for piece in TARGET[0]:
        inner = np.tanh(array(score.query.weight) @ hidden[0] + keys) * array(score.v_a)
        heads = [softmax(energies) for energies in inner.reshape(-1, HEADS, 2).sum(-1).T]
        parts = (annotations @ array(values.weight).T).reshape(-1, HEADS, 2)
        context = np.concatenate([heads[h] @ parts[:, h] for h in range(HEADS)])
        output = array(model.target_embedding.weight)[piece]
        for number, layer in enumerate(every):
            entering, fed = (output, [context]) if number == 0 else ([*output, *context], [])
            hidden[number], cells[number] = gate_norm_lstm_step(
                layer, np.array(entering), hidden[number], cells[number], *fed
            )
            output = hidden[number] + output if number >= 2 else hidden[number]
        outputs.append(np.concatenate([output, context]))
        looked.append(np.mean(heads, axis=0))
    found = model(source_bs, mask_bs, target_bt, need_weights=True)
    np.testing.assert_allclose(array(found.output_btd)[0], outputs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(array(found.weights_bts)[0], looked, rtol=1e-9)


def test_readout_has_the_width_of_a_tied_embedding() -> None:
    decoder = ComponentConfig("rnmt_plus", {"hidden_size": UNITS, "readout_size": 3})
    model = build_model(config(decoder=decoder, tied_embeddings="all"), PIECES, PIECES)
    assert model.decoder.output_size == 3


def test_attention_dropout_changes_contexts_but_not_the_weights() -> None:
    attention = GlobalAttention(DotScore(UNITS, UNITS), dropout=0.5)
    assert not attention.supports_fused
    states_bse, query_bqd = torch.randn(2, 30, UNITS), torch.randn(2, 3, UNITS)
    last = LayerStates(states_bse[:, :1], None)
    mask_bs = torch.ones(2, 30, dtype=torch.bool)
    memory = attention.prepare(Encoded(states_bse, mask_bs, states_bse[:, 0], last))
    dropped, _ = attention(query_bqd, memory, ())
    whole, _ = attention.eval()(query_bqd, memory, ())
    assert torch.equal(dropped.weights_bqs, whole.weights_bqs)
    assert not torch.allclose(dropped.context_bqe, whole.context_bqe, atol=0.01)
    torch.testing.assert_close(whole.context_bqe, whole.weights_bqs @ states_bse)
