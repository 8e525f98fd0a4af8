"""The Neural Turing Machine encoder: single steps, and padding that writes nothing."""

import torch
from torch import Tensor

from nmt.model.encoders.ntm import TuringEncoder
from nmt.model.interfaces import Encoded
from nmt.model.layers.ntm import WRITTEN_MEMORY, MemorySizes
from tests.model.numpy_formulas import draw

MASK_BS = torch.arange(5) < torch.tensor([[2], [5], [1]])


def _encoder() -> TuringEncoder:
    encoder: TuringEncoder = draw(
        TuringEncoder(3, hidden_size=4, slots=6, width=3, read_heads=2, write_heads=2)
    )
    encoder.keeps_cells = True
    return encoder


def _embedded(padding: float) -> Tensor:
    torch.manual_seed(6)
    embedded_bsm = torch.randn(3, 5, 3, dtype=torch.float64)
    return embedded_bsm.masked_fill(~MASK_BS[:, :, None], padding)


def _rows(encoded: Encoded, row: int) -> list[Tensor]:
    """Return all outputs of a sentence whose size does not depend on the padding."""
    state, _ = encoded.extras[WRITTEN_MEMORY]
    final = [part for part in encoded.layer_states if part is not None]
    return [part[row] for part in (encoded.final_state_bx, *final, *state)]


def test_memory_is_that_of_the_last_real_step() -> None:
    encoder = _encoder()
    encoded = encoder(_embedded(float("nan")), MASK_BS)
    assert encoded.layer_states.cell_ble is not None
    for row, length in enumerate([2, 5, 1]):
        controller, state = encoder.machine.initial_state(_embedded(0.0)[row : row + 1, 0])
        for position in range(length):
            given_1m = _embedded(0.0)[row : row + 1, position]
            projected_1g = encoder.machine.controller.project(given_1m)
            controller, state = encoder.machine.step(projected_1g, controller, state)
            torch.testing.assert_close(encoded.states_bse[row, position], controller.hidden_nd[0])
            written_i = state.weights_nhi[0, 2] + state.weights_nhi[0, 3]
            torch.testing.assert_close(
                encoded.extras[WRITTEN_MEMORY].written_bsi[row, position], written_i
            )
        assert controller.cell_nd is not None
        expected = [
            controller.hidden_nd[0],
            controller.hidden_nd,
            controller.cell_nd,
            *(part[0] for part in state),
        ]
        torch.testing.assert_close(_rows(encoded, row), expected, rtol=1e-10, atol=1e-12)


def test_padding_changes_no_bit_of_the_memory() -> None:
    encoder = _encoder()
    plain = encoder(_embedded(0.0), MASK_BS)
    for garbage in (float("nan"), float("inf"), 1e30):
        other = encoder(_embedded(garbage), MASK_BS)
        for row in range(3):
            assert all(map(torch.equal, _rows(plain, row), _rows(other, row)))
        assert torch.equal(
            plain.extras[WRITTEN_MEMORY].written_bsi, other.extras[WRITTEN_MEMORY].written_bsi
        )
    assert plain.extras[WRITTEN_MEMORY].written_bsi[~MASK_BS].abs().sum() == 0


def test_sizes_contain_the_memory() -> None:
    sizes = _encoder().sizes
    assert (sizes.annotation, sizes.final_state, sizes.layers) == (4, 4, 1)
    assert sizes.extras[WRITTEN_MEMORY] == MemorySizes(
        slots=6, width=3, read_heads=2, write_heads=2
    )


def test_encoder_gradients() -> None:
    encoder = _encoder()
    mask_bs = torch.tensor([[True, True, True], [True, False, False]])

    def everything(embedded_bsm: Tensor) -> tuple[Tensor, ...]:
        encoded = encoder(embedded_bsm, mask_bs)
        return (
            encoded.states_bse,
            *encoded.extras[WRITTEN_MEMORY].state,
            encoded.extras[WRITTEN_MEMORY].written_bsi,
        )

    torch.manual_seed(8)
    embedded_bsm = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(everything, (embedded_bsm,))
