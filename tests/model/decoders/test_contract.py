"""What every decoder keeps to."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import backward

from nmt.config.schema import ModelConfig
from nmt.model.encoders.ntm import Machine
from nmt.model.interfaces import Decoder, Encoded, LayerStates, MachineSizes, SourceSizes
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.turing import MachineState
from tests.model.small import ADDITIVE, BILINEAR, WIDTH, assemblies, build

MASK_BS = torch.tensor([[True, True, True], [True, False, False]])


class _Whole(nn.Module):
    """A decoder after the encoder's last layer, as one call from tensors to tensors."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, embedded: Tensor, states: Tensor, summary: Tensor, final: Tensor, *machine: Tensor
    ) -> Tensor:
        cells_ble = final[1] if self.decoder.needs_cells else None
        last = LayerStates(final[0], cells_ble)
        # The units back to front are as good a memory tape as any.
        encoded = Encoded(states, MASK_BS, summary, last, cells_bse=states.flip(-1))
        if machine:
            *state, written_bsi = machine
            encoded = encoded._replace(machine=Machine(MachineState(*state), written_bsi))
        outputs_btd: Tensor = self.decoder(embedded, encoded).output_btd
        return outputs_btd


def _inputs(sizes: SourceSizes, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """What `_Whole` reads, after an encoder of these sizes."""
    torch.manual_seed(2)
    states_bse = torch.randn(2, 3, WIDTH, dtype=dtype) * MASK_BS[:, :, None]
    embedded_btm = torch.randn(2, 3, 3, dtype=dtype)
    final_state_bh = torch.randn(2, sizes.final_state, dtype=dtype)
    final = torch.randn(2, 2, 2, WIDTH, dtype=dtype)
    return embedded_btm, states_bse, final_state_bh, final, *_machine(sizes.machine, dtype)


def _machine(sizes: MachineSizes | None, dtype: torch.dtype) -> tuple[Tensor, ...]:
    if sizes is None:
        return ()
    memory_nci = torch.randn(2, sizes.width, sizes.slots, dtype=dtype)
    weights_nhi = torch.rand(2, sizes.heads, sizes.slots, dtype=dtype)
    read_nf = torch.randn(2, sizes.read_heads * sizes.width, dtype=dtype)
    return memory_nci, weights_nhi, read_nf, torch.rand(2, 3, sizes.slots, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("model", assemblies(scores=[ADDITIVE]))
def test_gradients_of_a_decoder_are_right(model: ModelConfig) -> None:
    built = build(model)
    whole, inputs = _Whole(built.decoder), _inputs(built.encoder.sizes, torch.float64)
    names = [name for name, _ in whole.named_parameters()]

    def outputs(*values: Tensor) -> Tensor:
        parameters = dict(zip(names, values[len(inputs) :], strict=True))
        found: Tensor = torch.func.functional_call(whole, parameters, values[: len(inputs)])
        return found

    given = (*(tensor.requires_grad_() for tensor in inputs), *whole.parameters())
    assert torch.autograd.gradcheck(outputs, given, fast_mode=True)


@pytest.mark.parametrize("model", assemblies(scores=[ADDITIVE, BILINEAR]))
def test_a_step_in_bfloat16_is_near_the_one_in_float32(model: ModelConfig) -> None:
    """bfloat16 keeps 8 bits, 0.4 %; outputs and gradients stay within 3 % of their size."""
    built = build(model, torch.float32)
    whole, inputs = _Whole(built.decoder), _inputs(built.encoder.sizes, torch.float32)
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
    states_bse, final_state_bh = torch.randn(2, 3, 4), torch.randn(2, 2)
    return Encoded(states_bse, MASK_BS, final_state_bh, LayerStates(*torch.randn(2, 2, layers, 4)))


def test_a_state_of_zero_knows_nothing_of_the_source() -> None:
    states = Bridge("zero", SourceSizes(4, 2, 1), 5, 2)(_encoded(1))
    assert [part.shape for state in states for part in state] == [(2, 5)] * 4
    assert sum(part.abs().sum() for state in states for part in state) == 0


def test_last_takes_the_uppermost_layers_in_their_order() -> None:
    encoded = _encoded(3)
    lower, upper = Bridge("last", SourceSizes(4, 2, 3), 4, 2)(encoded)
    assert encoded.layer_states.cell_ble is not None
    assert torch.equal(lower.hidden_nd, encoded.layer_states.hidden_ble[:, 1])
    assert torch.equal(upper.hidden_nd, encoded.layer_states.hidden_ble[:, 2])
    assert torch.equal(lower.cell_nd, encoded.layer_states.cell_ble[:, 1])
    assert torch.equal(upper.cell_nd, encoded.layer_states.cell_ble[:, 2])


def test_last_refuses_another_width_and_fewer_layers() -> None:
    with pytest.raises(ValueError, match="width 4 into a decoder of 5 units; make them equal or"):
        Bridge("last", SourceSizes(4, 2, 1), 5, 1)
    with pytest.raises(ValueError, match="the encoder has 1 and the decoder 2"):
        Bridge("last", SourceSizes(4, 2, 1), 4, 2)
