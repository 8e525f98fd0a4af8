"""The transformer encoder against torch's with equal weights."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.errors import UserError
from nmt.model.encoders.transformer import TransformerEncoder
from nmt.model.interfaces import SourceSizes
from nmt.registry import ENCODERS, ComponentConfig
from tests.model.numpy_formulas import draw
from tests.model.torch_transformer import torch_encoder

WIDTH, HEADS = 12, 3
LENGTHS = torch.tensor([2, 5, 1, 4])
MASK_BS = torch.arange(5) < LENGTHS[:, None]
SMALL: dict[str, Any] = {"layers": 3, "heads": HEADS, "feed_forward_size": 7}

every_kind = pytest.mark.parametrize(
    ("norm", "activation"), [(n, a) for n in ("post", "pre") for a in ("relu", "gelu")]
)


def _embedded() -> Tensor:
    torch.manual_seed(6)
    return torch.randn(4, 5, WIDTH, dtype=torch.float64)


@every_kind
@pytest.mark.parametrize("positions", ["sinusoid", "learned"])
@pytest.mark.parametrize("gradients", [True, False], ids=["with gradients", "without"])
def test_encoder_equals_torch(norm: Any, activation: Any, positions: Any, gradients: bool) -> None:
    options = {"norm": norm, "activation": activation, "positions": positions}
    ours = draw(TransformerEncoder(WIDTH, **SMALL, **options)).eval()
    embedded_bsm = _embedded()
    with torch.set_grad_enabled(gradients):
        encoded = ours(embedded_bsm, MASK_BS)
    theirs = torch_encoder(ours, HEADS, activation, norm)
    expected_bse = theirs(ours.positions(embedded_bsm), src_key_padding_mask=~MASK_BS)
    torch.testing.assert_close(
        encoded.states_bse[MASK_BS], expected_bse[MASK_BS], rtol=1e-10, atol=1e-10
    )
    assert not encoded.states_bse[~MASK_BS].any()


def test_final_state_is_the_mean_of_real_annotations() -> None:
    encoded = draw(TransformerEncoder(WIDTH, **SMALL)).eval()(_embedded(), MASK_BS)
    for row, length in enumerate(LENGTHS.tolist()):
        mean_e = encoded.states_bse[row, :length].mean(dim=0)
        torch.testing.assert_close(encoded.final_state_bx[row], mean_e, rtol=1e-12, atol=1e-12)


def test_layer_states_are_empty() -> None:
    encoder = TransformerEncoder(WIDTH, **SMALL)
    encoded = encoder.double()(_embedded(), MASK_BS)
    assert encoded.layer_states.hidden_ble.shape == (4, 0, WIDTH)
    assert encoded.layer_states.cell_ble is None
    assert encoder.sizes == SourceSizes(WIDTH, WIDTH, 0, False)


@every_kind
def test_without_positions_annotations_are_permutation_equivariant(
    norm: Any, activation: Any
) -> None:
    """If tokens are permuted together with their position vectors, so are the annotations."""
    encoder = draw(TransformerEncoder(WIDTH, **SMALL, norm=norm, activation=activation)).eval()
    embedded_bsm, whole_bs = _embedded(), torch.ones(4, 5, dtype=torch.bool)
    order = torch.tensor([3, 1, 4, 0, 2])
    rows_tm = encoder.positions.rows(0, 5, embedded_bsm)
    moved_bsm = (embedded_bsm + rows_tm)[:, order] - rows_tm
    torch.testing.assert_close(
        encoder(moved_bsm, whole_bs).states_bse,
        encoder(embedded_bsm, whole_bs).states_bse[:, order],
        rtol=1e-10,
        atol=1e-12,
    )


def test_dropout_after_positions_and_sublayers_only_in_training() -> None:
    torch.manual_seed(3)
    encoder = TransformerEncoder(WIDTH, **{**SMALL, "layers": 1}, dropout=0.5).double()
    entering: list[Tensor] = []
    encoder.stack[0].register_forward_hook(lambda _, given, out: entering.append(given[0]))
    embedded_bsm = _embedded()
    encoder(embedded_bsm, MASK_BS)
    placed_bsm = encoder.positions(embedded_bsm.masked_fill(~MASK_BS[:, :, None], 0.0))
    dropped_bsm = entering[0]
    kept = dropped_bsm != 0
    assert 0.35 < float(kept.double().mean()) < 0.65
    torch.testing.assert_close(dropped_bsm[kept], 2 * placed_bsm[kept])
    first, second = (encoder(embedded_bsm, MASK_BS).states_bse for _ in range(2))
    assert not torch.equal(first, second)
    encoder.eval()
    first, second = (encoder(embedded_bsm, MASK_BS).states_bse for _ in range(2))
    assert torch.equal(first, second)


def test_invalid_options_are_a_user_error() -> None:
    for options, message in (
        ({"heads": 5}, "encoder 'transformer': heads: 5 does not divide the width 12; use 4"),
        ({"heads": 4, "max_length": 9}, "encoder 'transformer': max_length has no effect"),
    ):
        with pytest.raises(UserError, match=message):
            ENCODERS.build(ComponentConfig("transformer", options), WIDTH)


def test_source_beyond_the_learned_positions_is_a_user_error() -> None:
    encoder = TransformerEncoder(WIDTH, **SMALL, positions="learned", max_length=4).double()
    encoder(_embedded()[:, :4], MASK_BS[:, :4])
    with pytest.raises(UserError, match="a sentence of 5 or more tokens exceeds the 4"):
        encoder(_embedded(), MASK_BS)


@every_kind
def test_encoder_gradients(norm: Any, activation: Any) -> None:
    options = {**SMALL, "layers": 1, "norm": norm, "activation": activation}
    encoder = draw(TransformerEncoder(WIDTH, **options)).eval()
    mask_bs = torch.tensor([[True, True, True], [True, False, False]])

    def everything(embedded_bsm: Tensor) -> tuple[Tensor, ...]:
        encoded = encoder(embedded_bsm, mask_bs)
        return encoded.states_bse, encoded.final_state_bx

    torch.manual_seed(8)
    embedded_bsm = torch.randn(2, 3, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(everything, (embedded_bsm,), fast_mode=True)
