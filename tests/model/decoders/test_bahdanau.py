"""The decoder of Bahdanau et al. against NumPy, for one sentence in the order of the paper."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.model.build import build_model
from nmt.model.interfaces import SourceSizes
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import DECODERS, ComponentConfig
from tests.model.numpy_formulas import Array, array, draw, recurrent_step, softmax
from tests.model.small import PIECES, config

SOURCE, TARGET = [[4, 1, 7, 2]], [[1, 5, 5, 9, 3]]


def _model(**options: object) -> Seq2Seq:
    decoder = ComponentConfig("bahdanau", {"hidden_size": 5, **options})
    encoder = ComponentConfig("bilstm", {"hidden_size": 2})
    score = ComponentConfig("additive", {"hidden_size": 3})
    model: Seq2Seq = draw(
        build_model(config(encoder=encoder, decoder=decoder, score=score), PIECES, PIECES)
    )
    return model


def _with_numpy(model: Seq2Seq) -> tuple[Array, Array]:
    """Compute the inputs of the output layer and the attention weights at every target position."""
    decoder: Any = model.decoder
    score = decoder.attention.score
    source_bs = torch.tensor(SOURCE)
    annotations = array(model.encode(source_bs, torch.ones_like(source_bs).bool()).states_bse)[0]
    layers = list(decoder.stack.layers)
    # s_0 = tanh(W ←h_1) of the backward half of the first annotation; cells are zero.
    hidden = [np.tanh(weight @ annotations[0, 2:]) for weight in array(decoder.bridge.weight_ldx)]
    cells = [np.zeros(5) for _ in layers]
    outputs, looked = [], []
    for piece in TARGET[0]:
        embedded = array(model.target_embedding.weight)[piece]
        query = array(score.query.weight) @ hidden[-1]  # attend with s_{i-1} ...
        alignment = np.tanh(query + annotations @ array(score.key.weight).T)
        weights = softmax(alignment @ array(score.v_a))
        context = weights @ annotations
        entering, fed = embedded, [context]
        for number, layer in enumerate(layers):  # ... then update the state
            hidden[number], cells[number] = recurrent_step(
                layer, entering, hidden[number], cells[number], *fed
            )
            entering, fed = hidden[number], []
        seen = np.concatenate([hidden[-1], context, embedded])
        if decoder.readout is not None:
            pairs = array(decoder.readout.weight) @ seen + array(decoder.readout.bias)
            seen = np.maximum(pairs[0::2], pairs[1::2])
        outputs.append(seen)
        looked.append(weights)
    return np.stack(outputs), np.stack(looked)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "options", [{}, {"deep_output": False}, {"readout_size": 7}], ids=["maxout", "plain", "wide"]
)
def test_decoder_equals_the_equations_of_the_paper(
    layers: int, cell: str, options: dict[str, object]
) -> None:
    model = _model(layers=layers, cell=cell, **options)
    expected, looked = _with_numpy(model)
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


def test_readout_size_without_deep_output_is_rejected() -> None:
    choice = ComponentConfig("bahdanau", {"readout_size": 3, "deep_output": False})
    with pytest.raises(ValueError, match="readout_size has no effect with deep_output: f"):
        DECODERS.build(choice, 3, SourceSizes(4, 4, 1), lambda _: torch.nn.Identity())
