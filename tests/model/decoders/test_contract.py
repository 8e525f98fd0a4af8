"""What every decoder keeps to."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import backward

from nmt.config.schema import ModelConfig
from nmt.model.interfaces import Decoder, Encoded, LayerStates
from nmt.model.layers.bridge import Bridge, SourceSizes
from tests.model.small import ADDITIVE, BILINEAR, WIDTH, assemblies, build

MASK_BS = torch.tensor([[True, True, True], [True, False, False]])


class _Whole(nn.Module):
    """A decoder after the encoder's last layer, as one call from tensors to tensors."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, embedded: Tensor, states: Tensor, summary: Tensor, final: Tensor) -> Tensor:
        cells_ble = final[1] if self.decoder.needs_cells else None
        encoded = Encoded(states, MASK_BS, summary, LayerStates(final[0], cells_ble))
        outputs_btd: Tensor = self.decoder(embedded, encoded)
        return outputs_btd


@pytest.mark.parametrize("model", assemblies(scores=[ADDITIVE]))
def test_gradients_of_a_decoder_are_right(model: ModelConfig) -> None:
    whole = _Whole(build(model).decoder)
    torch.manual_seed(2)
    states_bse = torch.randn(2, 3, WIDTH, dtype=torch.float64) * MASK_BS[:, :, None]
    embedded_btm = torch.randn(2, 3, 3, dtype=torch.float64)
    summary_bh = torch.randn(2, WIDTH // 2, dtype=torch.float64)
    final = torch.randn(2, 2, 2, WIDTH, dtype=torch.float64)
    inputs = (embedded_btm, states_bse, summary_bh, final)
    names = [name for name, _ in whole.named_parameters()]

    def outputs(*values: Tensor) -> Tensor:
        parameters = dict(zip(names, values[4:], strict=True))
        found: Tensor = torch.func.functional_call(whole, parameters, values[:4])
        return found

    given = (*(tensor.requires_grad_() for tensor in inputs), *whole.parameters())
    assert torch.autograd.gradcheck(outputs, given, fast_mode=True)


@pytest.mark.parametrize("model", assemblies(scores=[ADDITIVE, BILINEAR]))
def test_a_step_in_bfloat16_is_near_the_one_in_float32(model: ModelConfig) -> None:
    """bfloat16 keeps 8 bits, 0.4 %; outputs and gradients stay within 3 % of their size."""
    whole = _Whole(build(model, torch.float32).decoder)
    torch.manual_seed(2)
    states_bse = torch.randn(2, 3, WIDTH) * MASK_BS[:, :, None]
    inputs = (torch.randn(2, 3, 3), states_bse, torch.randn(2, 2), torch.randn(2, 2, 2, WIDTH))
    results = []
    for narrow in (False, True):
        whole.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            outputs_btd = whole(*inputs)
        backward(outputs_btd.float().square().sum())
        slopes = [p.grad.flatten() for p in whole.parameters() if p.grad is not None]
        results.append((outputs_btd.float().detach(), torch.cat(slopes)))
    for exact, near in zip(*results, strict=True):
        difference = float((exact - near).norm() / exact.norm())
        assert 1e-6 < difference < 0.03, "equal results would mean that nothing was narrow"


def _encoded(layers: int) -> Encoded:
    torch.manual_seed(1)
    states_bse, summary_bh = torch.randn(2, 3, 4), torch.randn(2, 2)
    return Encoded(states_bse, MASK_BS, summary_bh, LayerStates(*torch.randn(2, 2, layers, 4)))


def test_a_state_of_zero_knows_nothing_of_the_source() -> None:
    states = Bridge("zero", SourceSizes(4, 2, 1), 5, 2)(_encoded(1))
    assert [part.shape for state in states for part in state] == [(2, 5)] * 4
    assert sum(part.abs().sum() for state in states for part in state) == 0


def test_last_takes_the_uppermost_layers_in_their_order() -> None:
    encoded = _encoded(3)
    lower, upper = Bridge("last", SourceSizes(4, 2, 3), 4, 2)(encoded)
    assert encoded.final.cell_ble is not None
    assert torch.equal(lower.hidden_nd, encoded.final.hidden_ble[:, 1])
    assert torch.equal(upper.hidden_nd, encoded.final.hidden_ble[:, 2])
    assert torch.equal(lower.cell_nd, encoded.final.cell_ble[:, 1])
    assert torch.equal(upper.cell_nd, encoded.final.cell_ble[:, 2])


def test_last_refuses_another_width_and_fewer_layers() -> None:
    with pytest.raises(ValueError, match="width 4 into a decoder of 5 units; make them equal or"):
        Bridge("last", SourceSizes(4, 2, 1), 5, 1)
    with pytest.raises(ValueError, match="the encoder has 1 and the decoder 2"):
        Bridge("last", SourceSizes(4, 2, 1), 4, 2)
