"""The transformer decoder against torch's with equal weights, and after other encoders."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.errors import UserError
from nmt.model.build import build_model, check_model
from nmt.model.decoders.transformer import TransformerDecoder
from nmt.model.interfaces import Encoded, LayerStates, SourceSizes
from nmt.registry import DECODERS, ComponentConfig
from tests.model.numpy_formulas import draw
from tests.model.small import PIECES, config, gradients, outputs_by_steps, text
from tests.model.torch_transformer import torch_decoder

WIDTH, HEADS = 12, 3
MASK_BS = torch.arange(5) < torch.tensor([2, 5, 1])[:, None]
MASK_BT = torch.arange(6) < torch.tensor([6, 3, 1])[:, None]
SMALL: dict[str, Any] = {"layers": 3, "heads": HEADS, "feed_forward_size": 7}

every_kind = pytest.mark.parametrize(
    ("norm", "activation"), [(n, a) for n in ("post", "pre") for a in ("relu", "gelu")]
)
both_positions = pytest.mark.parametrize("positions", ["sinusoid", "learned"])


def _decoder(key_size: int = WIDTH, **options: Any) -> TransformerDecoder:
    sizes = SourceSizes(key_size, 2, 0)
    decoder: TransformerDecoder = draw(TransformerDecoder(WIDTH, sizes, **SMALL | options))
    return decoder.eval()


def _given(key_size: int = WIDTH) -> tuple[Tensor, Encoded]:
    torch.manual_seed(6)
    states_bse = torch.randn(3, 5, key_size, dtype=torch.float64) * MASK_BS[:, :, None]
    final = LayerStates(states_bse[:, :0], None)
    encoded = Encoded(states_bse, MASK_BS, torch.zeros(3, 2, dtype=torch.float64), final)
    return torch.randn(3, 6, WIDTH, dtype=torch.float64), encoded


def _close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@every_kind
@both_positions
@pytest.mark.parametrize("with_gradients", [True, False], ids=["with gradients", "without"])
def test_decoder_equals_torch(
    norm: Any, activation: Any, positions: Any, with_gradients: bool
) -> None:
    ours = _decoder(norm=norm, activation=activation, positions=positions)
    embedded_btm, encoded = _given()
    with torch.set_grad_enabled(with_gradients):
        output_btd = ours(embedded_btm, encoded).output_btd
    theirs = torch_decoder(ours, HEADS, activation, norm)
    expected_btd = theirs(
        ours.positions(embedded_btm),
        encoded.states_bse,
        tgt_mask=torch.ones(6, 6).triu(1).bool(),
        tgt_key_padding_mask=~MASK_BT,
        memory_key_padding_mask=~MASK_BS,
    )
    _close(output_btd[MASK_BT], expected_btd[MASK_BT])


@every_kind
@both_positions
@pytest.mark.parametrize("key_size", [WIDTH, 5])
@pytest.mark.parametrize("with_gradients", [True, False], ids=["with gradients", "without"])
def test_cached_steps_equal_teacher_forcing(
    norm: Any, activation: Any, positions: Any, key_size: int, with_gradients: bool
) -> None:
    ours = _decoder(key_size, norm=norm, activation=activation, positions=positions)
    embedded_btm, encoded = _given(key_size)
    expected_btd = ours(embedded_btm, encoded).output_btd
    with torch.set_grad_enabled(with_gradients):
        memory, state = ours.start(encoded)
        for t in range(6):
            output = ours.step(embedded_btm[:, t], memory, state)
            state = output.state
            _close(output.output_nd, expected_btd[:, t])
    assert [part.shape for layer in state for part in layer] == [(3, HEADS, 6, 4)] * 6


@pytest.mark.parametrize("chosen", [None, 1, 2, 3])
def test_alignment_weights_are_the_mean_over_heads_of_one_layer(chosen: int | None) -> None:
    ours = _decoder(alignment_layer=chosen)
    embedded_btm, encoded = _given()
    theirs = torch_decoder(ours, HEADS, "relu", "post")
    hidden_tt = torch.ones(6, 6).triu(1).bool()
    states_btd = ours.positions(embedded_btm)
    expected = []
    for layer in theirs.layers:
        assert isinstance(layer, torch.nn.TransformerDecoderLayer)
        attended_btd, _ = layer.self_attn(*[states_btd] * 3, attn_mask=hidden_tt)
        query_btd = layer.norm1(states_btd + attended_btd)
        _, weights_bts = layer.multihead_attn(
            query_btd, encoded.states_bse, encoded.states_bse, key_padding_mask=~MASK_BS
        )
        expected.append(weights_bts)
        states_btd = layer(
            states_btd, encoded.states_bse, hidden_tt, memory_key_padding_mask=~MASK_BS
        )
    memory, state = ours.start(encoded)
    for t in range(6):
        output = ours.step(embedded_btm[:, t], memory, state)
        state = output.state
        assert output.weights_ns is not None
        _close(output.weights_ns, expected[(chosen or 2) - 1][:, t])


def test_alignment_layer_of_a_single_layer() -> None:
    assert _decoder(layers=1).alignment_layer == 1
    assert _decoder(layers=6).alignment_layer == 5


def test_source_is_projected_once_per_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = _decoder()
    calls: list[int] = []
    for number, layer in enumerate(ours.stack):
        projected = layer.get_submodule("cross_attention.kv_proj")
        projected.register_forward_hook(lambda *_, number=number: calls.append(number))
    embedded_btm, encoded = _given()
    ours(embedded_btm, encoded)
    assert calls == [0, 1, 2]
    memory, state = ours.start(encoded)
    for embedded_bm in embedded_btm.unbind(1):
        state = ours.step(embedded_bm, memory, state).state
    assert calls == [0, 1, 2] * 2


def test_hypotheses_share_one_memory() -> None:
    """Each of four hypotheses of a sentence has the outputs that it has alone."""
    ours, hypotheses = _decoder(), 4
    embedded_ntm = torch.randn(3 * hypotheses, 5, WIDTH, dtype=torch.float64)
    _, encoded = _given()
    memory, state = ours.start(encoded)
    assert all(part.size(0) == 3 for layer in memory.layers for part in layer)
    expected = [
        ours(embedded_ntm[number::hypotheses], encoded).output_btd for number in range(hypotheses)
    ]
    state = tuple(
        type(layer)(*(part.repeat_interleave(hypotheses, dim=0) for part in layer))
        for layer in state
    )
    for t in range(5):
        output = ours.step(embedded_ntm[:, t], memory, state)
        state = output.state
        for number in range(hypotheses):
            _close(output.output_nd[number::hypotheses], expected[number][:, t])


def test_invalid_options_are_a_user_error() -> None:
    for options, message in (
        ({}, "decoder 'transformer': heads: 8 does not divide the width 12; use 6"),
        ({"heads": 4, "max_length": 9}, "max_length has no effect"),
        ({"layers": 2, "alignment_layer": 3}, "alignment_layer 3 exceeds the number of layers, 2"),
    ):
        with pytest.raises(UserError, match=message):
            DECODERS.build(ComponentConfig("transformer", options), WIDTH, SourceSizes(4, 4, 1))


def test_target_beyond_the_learned_positions_is_a_user_error() -> None:
    ours = _decoder(positions="learned", max_length=5)
    embedded_btm, encoded = _given()
    with pytest.raises(UserError, match="a sentence of 6 or more tokens exceeds the 5"):
        ours(embedded_btm, encoded)
    memory, state = ours.start(encoded)
    for t in range(5):
        state = ours.step(embedded_btm[:, t], memory, state).state
    with pytest.raises(UserError, match="a sentence of 6 or more tokens exceeds the 5"):
        ours.step(embedded_btm[:, 5], memory, state)


def test_initial_state_last_is_rejected_after_a_transformer() -> None:
    model = config(
        encoder=ComponentConfig("transformer", {"heads": 1}),
        decoder=ComponentConfig("luong", {"hidden_size": 3, "initial_state": "last"}),
    )
    with pytest.raises(UserError, match=r"got 0 and 1; .* or use 'bridge'"):
        check_model(model, joint=True)


TRANSFORMER = ComponentConfig("transformer", {"layers": 2, "heads": 3, "feed_forward_size": 5})
BILSTM = ComponentConfig("bilstm", {"hidden_size": 2})
RECURRENT = {"hidden_size": 4}
MIXED = {
    "both transformers": {"encoder": TRANSFORMER, "decoder": TRANSFORMER},
    "bilstm and transformer": {"encoder": BILSTM, "decoder": TRANSFORMER},
    "transformer and bahdanau": {
        "encoder": TRANSFORMER,
        "decoder": ComponentConfig("bahdanau", RECURRENT),
        "score": ComponentConfig("additive"),
    },
    "transformer and luong by heads": {
        "encoder": TRANSFORMER,
        "decoder": ComponentConfig("luong", RECURRENT),
        "attention": ComponentConfig("multi_head", {"heads": 3}),
    },
    "bilstm and luong by heads, without input feeding": {
        "encoder": BILSTM,
        "decoder": ComponentConfig("luong", {**RECURRENT, "input_feeding": False}),
        "attention": ComponentConfig("multi_head", {"heads": 2}),
    },
}


@pytest.mark.parametrize("parts", MIXED.values(), ids=MIXED.keys())
def test_recurrent_and_transformer_components_combine(parts: dict[str, Any]) -> None:
    model = draw(build_model(config(**parts), PIECES, PIECES)).eval()
    given = text()
    at_once_btd = model(given.source_bs, given.source_mask_bs, given.target_bt).output_btd
    _close(outputs_by_steps(model, given), at_once_btd)
    backward(model.output_layer(at_once_btd)[given.target_mask_bt].log_softmax(-1)[:, 7].sum())
    found = gradients(model)
    assert all(found[name].abs().max() > 1e-9 for name, _ in model.named_parameters())
