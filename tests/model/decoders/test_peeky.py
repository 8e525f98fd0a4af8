"""The decoder that reads the encoder's last state at every step, against NumPy."""

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


def _model(**options: object) -> Seq2Seq:
    decoder = ComponentConfig("peeky", {"hidden_size": 5, **options})
    encoder = ComponentConfig("bilstm", {"hidden_size": 2, "layers": 2})
    model: Seq2Seq = draw(build_model(config(encoder=encoder, decoder=decoder), PIECES, PIECES))
    return model


def _with_numpy(model: Seq2Seq, hidden: list[Array], summary: Array) -> Array:
    """Compute [h; s_t] at every target position from the initial hidden states and zero cells."""
    decoder: Any = model.decoder
    cells = [np.zeros(5) for _ in hidden]
    outputs = []
    for piece in TARGET[0]:
        entering = np.concatenate([array(model.target_embedding.weight)[piece], summary])
        for number, layer in enumerate(decoder.stack.layers):
            hidden[number], cells[number] = recurrent_step(
                layer, entering, hidden[number], cells[number]
            )
            entering = hidden[number]
        outputs.append(np.concatenate([summary, entering]))
    return np.stack(outputs)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("start", ["bridge", "zero"])
def test_final_state_enters_every_step_and_the_output(layers: int, cell: str, start: str) -> None:
    model = _model(layers=layers, cell=cell, initial_state=start)
    decoder: Any = model.decoder
    annotations = array(model.encode(torch.tensor(SOURCE), WHOLE).states_bse)[0]
    summary = np.concatenate([annotations[-1, :2], annotations[0, 2:]])  # [→h_S; ←h_1]
    hidden = [np.zeros(5) for _ in range(layers)]
    if start == "bridge":
        hidden = [np.tanh(weight @ summary) for weight in array(decoder.bridge.weight_ldx)]
    outputs_btd = model(torch.tensor(SOURCE), WHOLE, torch.tensor(TARGET)).output_btd
    expected = _with_numpy(model, hidden, summary)
    np.testing.assert_allclose(array(outputs_btd)[0], expected, rtol=1e-9, atol=1e-12)
    assert model.decoder.output_size == expected.shape[1] == 9


def test_hypotheses_read_the_final_state_of_their_sentence() -> None:
    model = _model()
    source_bs = torch.tensor([[4, 1, 7, 2], [3, 3, 8, 2]])
    pieces_n = torch.tensor([5, 6, 7, 8, 9, 1])
    memory, state = model.start(source_bs, torch.ones(2, 4, dtype=torch.bool))
    apart = [
        model.step(pieces_n[[column, column + 3]], memory, state).log_probs_nv
        for column in range(3)
    ]
    assert isinstance(state, tuple)
    begun = [type(layer)(*(p.repeat_interleave(3, dim=0) for p in layer)) for layer in state]
    together_nv = model.step(pieces_n, memory, tuple(begun)).log_probs_nv
    expected_bkv = torch.stack(apart, dim=1)
    torch.testing.assert_close(together_nv.unflatten(0, (2, 3)), expected_bkv)  # type: ignore[no-untyped-call]
