"""The Neural Turing Machine decoder: initial heads, memory and alignment weights."""

from typing import Any

import numpy as np
import pytest
import torch

from nmt.errors import UserError
from nmt.model.build import build_model, check_model
from nmt.model.decoders.ntm import NTMState
from nmt.model.interfaces import Encoded
from nmt.model.layers.ntm import WRITTEN_MEMORY, TuringMachine
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import ComponentConfig
from tests.model.numpy_formulas import array, draw
from tests.model.small import PIECES, config, follow, text

MEMORY = {"hidden_size": 4, "slots": 7, "width": 3, "read_heads": 2, "write_heads": 2}


def _model(**options: Any) -> Seq2Seq:
    encoder = ComponentConfig("ntm", MEMORY)
    decoder = ComponentConfig("ntm", {"hidden_size": 4, **options})
    model: Seq2Seq = draw(build_model(config(encoder=encoder, decoder=decoder), PIECES, PIECES))
    return model


def _encoded(model: Seq2Seq) -> Encoded:
    return model.encode(text().source_bs, text().source_mask_bs)


def test_decoder_continues_with_the_state_of_the_encoder() -> None:
    model, given = _model(heads="last", initial_state="last"), text()
    decoder: Any = model.decoder
    encoded: Any = _encoded(model)
    ended = encoded.extras[WRITTEN_MEMORY].state
    memory, state = decoder.start(encoded)
    torch.testing.assert_close(state.memory, ended, rtol=0, atol=0)
    assert torch.equal(state.controller.hidden_nd, encoded.final_state_bx)
    assert torch.equal(state.controller.cell_nd, encoded.layer_states.cell_ble[:, 0])
    embedded_nm = model.target_embedding(given.target_bt[:, 0])
    stepped = decoder.step(embedded_nm, memory, state)
    controller, turned = decoder.machine.step(
        decoder.machine.controller.project(embedded_nm), state.controller, ended
    )
    assert torch.equal(stepped.output_nd, torch.cat([controller.hidden_nd, turned.read_nf], -1))
    assert not torch.equal(turned.memory_nui, ended.memory_nui)


def test_option_heads_sets_the_initial_weights() -> None:
    for heads in ("first", "last"):
        model = _model(heads=heads)
        encoded = _encoded(model)
        _, state = model.decoder.start(encoded)
        first_nhi = torch.zeros(3, 4, 7, dtype=torch.float64)
        first_nhi[:, :, 0] = 1
        expected_nhi = (
            first_nhi if heads == "first" else encoded.extras[WRITTEN_MEMORY].state.weights_nhi
        )
        assert torch.equal(state.memory.weights_nhi, expected_nhi)


def test_alignment_weights_equal_the_formula() -> None:
    model, given = _model(), text()
    written = array(_encoded(model).extras[WRITTEN_MEMORY].written_bsi)
    memory, state = model.start(given.source_bs, given.source_mask_bs)
    for tokens_n in given.target_bt.unbind(dim=1):
        prediction = model.step(tokens_n, memory, state)
        state = prediction.state
        assert isinstance(state, NTMState)
        reading = array(state.memory.weights_nhi)[:, :2].sum(axis=1)
        assert prediction.weights_ns is not None
        for row, length in enumerate([6, 3, 1]):
            masses = np.array([reading[row] @ written[row, s] for s in range(length)]) + 1e-6
            expected = np.pad(masses / masses.sum(), (0, 6 - length))
            np.testing.assert_allclose(array(prediction.weights_ns)[row], expected, rtol=1e-10)


def _walks(machine: TuringMachine) -> None:
    """Set the addressing of all heads to a shift by one slot."""
    with torch.no_grad():
        machine.orders.weight.zero_()
        numbers_hx = machine.orders.bias[: machine.orders_sizes[0]].view(machine.sizes.heads, -1)
        numbers_hx[:, -4] = -60.0  # gate: no content addressing
        numbers_hx[:, -3:] = torch.tensor([60.0, -60.0, -60.0])


def test_heads_that_shift_by_one_align_target_and_source() -> None:
    model, given = _model(), text()
    parts: Any = model
    _walks(parts.encoder.machine)
    _walks(parts.decoder.machine)
    _, weights = follow(model, given, *model.start(given.source_bs, given.source_mask_bs))
    looked_ts = torch.stack(weights)[:, 0]
    torch.testing.assert_close(looked_ts, torch.eye(4, 6).double(), rtol=0, atol=1e-5)


def test_each_hypothesis_has_its_own_memory() -> None:
    model, given = _model(), text()
    memory, state = model.start(given.source_bs, given.source_mask_bs)
    doubled = torch.utils._pytree.tree_map(lambda part: part.repeat_interleave(2, 0), state)
    tokens_n = torch.tensor([1, 2, 1, 3, 4, 1])
    together = model.step(tokens_n, memory, doubled)
    for hypothesis in range(2):
        alone = model.step(tokens_n[hypothesis::2], memory, state)
        rows = torch.utils._pytree.tree_map(
            lambda part, h=hypothesis: None if part is None else part[h::2], together
        )
        torch.testing.assert_close(rows, alone, rtol=1e-10, atol=1e-12)
    assert isinstance(together.state, NTMState)
    memories_nui = together.state.memory.memory_nui
    assert not torch.equal(memories_nui[0], memories_nui[1])


def test_dropout_before_the_output_layer_only_in_training() -> None:
    model = _model(dropout=0.5)
    encoded, embedded_btm = _encoded(model), torch.randn(3, 4, 3, dtype=torch.float64)
    dropped = model.decoder(embedded_btm, encoded).output_btd
    whole = model.eval().decoder(embedded_btm, encoded).output_btd
    assert set((dropped / whole).detach().round(decimals=9).unique().tolist()) == {0.0, 2.0}


def test_other_encoders_are_rejected() -> None:
    with pytest.raises(UserError) as refusal:
        check_model(config(decoder=ComponentConfig("ntm")), joint=True)
    assert str(refusal.value) == (
        "decoder 'ntm': requires encoder 'ntm', whose memory it reads; use encoder: ntm"
    )
